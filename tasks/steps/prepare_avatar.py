"""Prefect tasks of avatar preparation: find and encode the face in every frame, once per video and engine."""

import logging
from pathlib import Path

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION
from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.face_picture import face_picture
from musetalk_core.errors import RenderError
from musetalk_core.faces.tracker_protocol import FaceChoice
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.catalog.avatar_notes import AVATAR_KIND, AvatarNote, has_note, needs_picture, save_note
from tasks.errors import AvatarNotPrepared
from tasks.inputs.sources import source_path
from tasks.models.engines import EngineSpec, get_engine
from tasks.refs import Artefact, SourceFile
from tasks.run.media_limits import media_limits
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, NOT_CACHED, RETRY_COMPUTE, RETRY_IO, traced
from tasks.run.tenancy import current_tenant

_log = logging.getLogger(__name__)


class PreparedAvatar(BaseModel):
    """A prepared avatar: its cache entry, size in pixels, frame rate, and frames with and without a face."""

    model_config = ConfigDict(frozen=True)

    artefact: Artefact
    width: int
    height: int
    rate: str
    frames: int
    with_face: int
    gaps: tuple[tuple[int, int], ...]
    is_still: bool
    warnings: tuple[str, ...] = ()


def avatar_key(source: SourceFile, spec: EngineSpec, face: FaceChoice) -> str:
    """Return the cache key of an avatar: the source, the engine and the choice of the face."""
    return content_key(
        kind=AVATAR_KIND,
        core=CORE_VERSION,
        source=source.sha256,
        face=face,
        made_by=get_engine(spec).cache_fingerprint("avatar"),
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def prepare_avatar(
    key: str,
    source: SourceFile,
    spec: EngineSpec,
    face: FaceChoice,
    frames: int,
    may_prepare: bool = True,
    refresh: bool = False,
) -> PreparedAvatar:
    """
    Find and encode the face in every frame of the source.

    Args:
        key:         `avatar_key` of the other arguments.
        source:      the fetched video or still picture.
        spec:        the engine.
        face:        which face to use if there are several.
        frames:      approximate number of frames in the source, for progress.
        may_prepare: False to fail unless the avatar is in the cache.
        refresh:     prepare the avatar again even if it is in the cache. Also set the task's
            `refresh_cache` option then.

    Raises:
        AvatarNotPrepared: the avatar is not in the cache, and `may_prepare` is False.
        NoFaceFound, MediaUnreadable, MediaTooLarge, DiskFull: see the core's `prepare_avatar`.
    """
    if not (may_prepare or refresh) and not artefact_cache().has(AVATAR_KIND, key):
        raise _not_prepared_error(source)
    with phase("prepare") as report:
        request = prepare.AvatarRequest(source_path(source), source.sha256, face, media_limits())

        def make(folder: Path) -> None:
            prepare.prepare_avatar(
                request, get_engine(spec), folder, lambda done: report.advance("prepare", done, 2 * frames)
            )

        artefact = artefact_cache().get_or_create(AVATAR_KIND, key, make, refresh=refresh)
    return _to_prepared_avatar(artefact)


def _to_prepared_avatar(artefact: Artefact) -> PreparedAvatar:
    manifest = archive.load_avatar(artefact_cache().path(artefact)).manifest
    return PreparedAvatar(
        artefact=artefact,
        width=manifest.width,
        height=manifest.height,
        rate=manifest.rate,
        frames=manifest.frames,
        with_face=manifest.with_face,
        gaps=manifest.gaps,
        is_still=manifest.is_still,
        warnings=manifest.warnings,
    )


def require_prepared(key: str, source: SourceFile) -> None:
    """
    Raise an error if an avatar was prepared for other tenants only.

    The cache is shared by all tenants, but its contents are private to them.

    Args:
        key:    `avatar_key` of the avatar.
        source: the file that the avatar is made from.

    Raises:
        AvatarNotPrepared: the avatar was not prepared for the current tenant. Never raised for work without
            a tenant.
    """
    tenant = current_tenant()
    if tenant is not None and not has_note(key, tenant):
        raise _not_prepared_error(source)


def _not_prepared_error(source: SourceFile) -> AvatarNotPrepared:
    return AvatarNotPrepared(f"{source.name} has not been prepared; set preparation to true to prepare it")


@task(**NOT_CACHED, **RETRY_IO)
@traced
def note_avatar(
    made: PreparedAvatar,
    source: SourceFile,
    spec: EngineSpec,
    tenant: str | None,
    called: str | None = None,
) -> None:
    """
    Store the note of a prepared avatar, so that it appears in the list of avatars. Jobs do not need it.

    Args:
        made:   the avatar.
        source: the file that the avatar is made from.
        spec:   the engine of the avatar.
        tenant: owner of the note; None for no tenant.
        called: display name of the source, for a source that another task made.

    Raises:
        StorageError, DiskFull: all attempts to write the note failed.
    """
    folder = artefact_cache().path(made.artefact)
    note = AvatarNote(
        avatar=made.artefact.key,
        engine=spec.name,
        source=called or source.name,
        sha256=source.sha256,
        width=made.width,
        height=made.height,
        fps=made.rate,
        frames=made.frames,
        with_face=made.with_face,
        is_still=made.is_still,
        bytes=sum(file.stat().st_size for file in folder.iterdir()),
    )
    save_note(note, tenant, _face_picture(folder, source) if needs_picture(note.avatar, tenant) else None)


def _face_picture(folder: Path, source: SourceFile) -> bytes | None:
    """Return a picture of the face; None if it cannot be made, which no job depends on."""
    try:
        return face_picture(archive.load_avatar(folder), source_path(source))
    except RenderError as error:
        _log.warning("the picture of the avatar was not made: %s", error)
        return None
