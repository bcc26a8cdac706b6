"""Prefect tasks of avatar preparation: find and encode the face in every frame, once per video and engine."""

from pathlib import Path

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION, avatar, prepare
from musetalk_core.faces.following import FaceChoice
from tasks.artefacts import artefacts, content_key
from tasks.avatar_notes import KIND, AvatarNote, is_noted, remember
from tasks.errors import AvatarNotPrepared
from tasks.limits import limits
from tasks.models import EngineSpec, engine
from tasks.policies import ALWAYS, BY_CONTENT, RETRY_COMPUTE, RETRY_IO
from tasks.refs import Artefact, SourceFile
from tasks.reports import phase
from tasks.sources import source_path
from tasks.tenancy import current_tenant


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


def avatar_key(source: SourceFile, spec: EngineSpec, face: FaceChoice) -> str:
    """Return the cache key of an avatar: the source, the engine and the choice of the face."""
    return content_key(
        kind=KIND, core=CORE_VERSION, source=source.sha256, face=face, made_by=engine(spec).made_by("avatar")
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
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
    if not (may_prepare or refresh) and not artefacts().has(KIND, key):
        raise _not_prepared(source)
    with phase("prepare") as report:
        request = prepare.Request(source_path(source), source.sha256, face, limits())

        def make(folder: Path) -> None:
            prepare.prepare(
                request, engine(spec), folder, lambda done: report.advance("prepare", done, 2 * frames)
            )

        made = artefacts().made_once(KIND, key, make, refresh=refresh)
    return _summary(made)


def _summary(made: Artefact) -> PreparedAvatar:
    known = avatar.load(artefacts().path(made)).manifest
    return PreparedAvatar(
        artefact=made,
        width=known.width,
        height=known.height,
        rate=known.rate,
        frames=known.frames,
        with_face=known.with_face,
        gaps=known.gaps,
        is_still=known.is_still,
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
    if tenant is not None and not is_noted(key, tenant):
        raise _not_prepared(source)


def _not_prepared(source: SourceFile) -> AvatarNotPrepared:
    return AvatarNotPrepared(f"{source.name} has not been prepared; set preparation to true to prepare it")


@task(**ALWAYS, **RETRY_IO)
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
    )
    remember(note, tenant)
