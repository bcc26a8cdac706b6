"""
Prefect tasks of avatar preparation: find the face in every frame, once per video and engine.

An engine may encode the faces in parts, when a job needs them. Each part is a cache entry: of several jobs
that need it, one makes it, and a retry continues after the parts that exist. Call `encode_needed_faces`
before a cache entry that reads them is created: no process waits for one entry while it creates another.
"""

import logging
from contextlib import ExitStack, closing
from functools import lru_cache, partial
from pathlib import Path

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION
from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.face_picture import face_picture
from musetalk_core.avatar.parts import (
    PartEncoder,
    boxes_of_part,
    faces_before_part,
    faces_of_part,
    parts_of,
    with_parts,
)
from musetalk_core.errors import RenderError
from musetalk_core.faces.tracker_protocol import FaceChoice
from musetalk_core.types import Ints
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.catalog.avatar_notes import AVATAR_KIND, AvatarNote, has_note, needs_picture, save_note
from tasks.catalog.avatar_parts import AVATAR_PART_KIND, avatar_part_key, delete_avatar_parts
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
    in_parts: bool = False
    """Its faces are encoded when they are needed, see `encode_needed_faces`."""
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
    Find the face in every frame of the source, and encode it unless the engine encodes faces in parts.

    Args:
        key:         `avatar_key` of the other arguments.
        source:      the fetched video or still picture.
        spec:        the engine.
        face:        which face to use if there are several.
        frames:      approximate number of frames in the source, for progress.
        may_prepare: False to fail unless the avatar is in the cache.
        refresh:     prepare the avatar again even if it is in the cache, and delete its parts, except those
            that another job uses now. Also set the task's `refresh_cache` option then.

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
    prepared = _to_prepared_avatar(artefact)
    if refresh and prepared.in_parts:
        delete_avatar_parts(key)
    return prepared


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
        in_parts=manifest.part_frames > 0,
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
        in_parts=made.in_parts,
    )
    save_note(note, tenant, _face_picture(folder, source) if needs_picture(note.avatar, tenant) else None)


def _face_picture(folder: Path, source: SourceFile) -> bytes | None:
    """Return a picture of the face; None if it cannot be made, which no job depends on."""
    try:
        return face_picture(archive.load_avatar(folder), source_path(source))
    except RenderError as error:
        _log.warning("the picture of the avatar was not made: %s", error)
        return None


def open_avatar(artefact: Artefact) -> archive.Avatar:
    """Open a prepared avatar. Its parts are opened when they are read, and must exist then."""
    folder = artefact_cache().path(artefact)
    avatar = _load_avatar(folder, folder.stat().st_ino)
    if not avatar.manifest.part_frames:
        return avatar
    return with_parts(avatar, lambda part: artefact_cache().path(_part(avatar, artefact, part)))


@lru_cache(maxsize=2)
def _load_avatar(folder: Path, inode: int) -> archive.Avatar:
    """Load an avatar once for all its chunks. The inode differs if the avatar was prepared again."""
    del inode
    return archive.load_avatar(folder)


def _part(avatar: archive.Avatar, artefact: Artefact, part: int) -> Artefact:
    boxes, earlier_faces = boxes_of_part(avatar, part), faces_before_part(avatar, part)
    key = avatar_part_key(artefact.key, part, boxes, earlier_faces)
    # not validated: validation asks whether the entry exists
    return Artefact.model_construct(kind=AVATAR_PART_KIND, key=key, size=0, files=())


def encode_needed_faces(
    artefact: Artefact, source: SourceFile, spec: EngineSpec, frames: Ints | None = None
) -> int:
    """
    Encode the faces of some source frames, as far as they are not in the cache.

    Does nothing for an engine that encodes all faces while the avatar is prepared.

    Args:
        artefact: the prepared avatar.
        source:   the file that it was made from.
        spec:     its engine.
        frames:   (N,) int64 source frames in any order; None for all frames of the source.

    Returns:
        The number of faces that were encoded now.

    Raises:
        ObjectMissing: the avatar is no longer in the cache.
        MediaUnreadable, EngineError, DiskFull, StorageError: a part could not be made.
    """
    avatar, cache = open_avatar(artefact), artefact_cache()
    if not avatar.manifest.part_frames:
        return 0
    needed = {part: _part(avatar, artefact, part) for part in parts_of(avatar, frames)}
    missing = [part for part, entry in needed.items() if not cache.has(entry.kind, entry.key)]
    tracked, total = avatar.manifest.frames, sum(len(faces_of_part(avatar, part)) for part in missing)
    encoded = done = 0
    with ExitStack() as stack:
        report = stack.enter_context(phase("prepare", concurrent=True)) if missing else None
        encoder = stack.enter_context(closing(PartEncoder(avatar, get_engine(spec), source_path(source))))

        def advance(faces: int) -> None:
            if report is not None:
                report.advance("prepare", tracked + done + faces, tracked + total)

        def make(part: int, folder: Path) -> None:
            nonlocal encoded
            encoder.write(part, folder, advance)
            faces = len(faces_of_part(avatar, part))
            encoded += faces
            if report is not None:
                report.count_encoded_faces(faces)

        advance(0)
        for part, entry in needed.items():
            found = cache.get_or_create(entry.kind, entry.key, partial(make, part))
            if frames is not None:  # they are read soon: download what only the object store has
                cache.path(found)
            done += len(faces_of_part(avatar, part)) if part in missing else 0
            advance(0)
    return encoded


@task(**NOT_CACHED, **RETRY_COMPUTE)
@traced
def encode_all_faces(artefact: Artefact, source: SourceFile, spec: EngineSpec) -> int:
    """
    Encode all faces of an avatar that are not in the cache, see `encode_needed_faces`.

    Args:
        artefact: the prepared avatar.
        source:   the file that it was made from.
        spec:     its engine.
    """
    return encode_needed_faces(artefact, source, spec)
