"""Avatar preparation: the slow part, which depends on the video alone and is done once."""

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
    """A prepared avatar and what a flow must know of it."""

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
    """Name an avatar by everything that decides its content."""
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
        key:         `avatar_key` of the rest.
        frames:      about how many frames the source has, for progress.
        may_prepare: False demands that it was prepared before.
        refresh:     makes it anew though it is there; call with `refresh_cache` then.

    Raises:
        AvatarNotPrepared: it was not, and may not be.
        NoFaceFound, MediaUnreadable, MediaTooLarge, DiskFull: see `musetalk_core.prepare`.
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
    Raise if an avatar was prepared for other tenants only: the cache is shared, its contents are private.

    Args:
        key:    `avatar_key` of the avatar.
        source: what it would be made of.

    Raises:
        AvatarNotPrepared: it was not prepared for the current tenant. Work without a tenant passes.
    """
    tenant = current_tenant()
    if tenant is not None and not is_noted(key, tenant):
        raise _not_prepared(source)


def _not_prepared(source: SourceFile) -> AvatarNotPrepared:
    return AvatarNotPrepared(f"{source.name} has not been prepared; set preparation to true")


@task(**ALWAYS, **RETRY_IO)
def note_avatar(
    made: PreparedAvatar,
    source: SourceFile,
    spec: EngineSpec,
    tenant: str | None,
    called: str | None = None,
) -> None:
    """
    Write down that an avatar was prepared, for those who list avatars; jobs do not need the note.

    Args:
        made:   the avatar.
        source: what it was made of.
        spec:   for which engine.
        tenant: for whom; None for nobody in particular.
        called: what people call the source, where a step of ours made it.

    Raises:
        StorageError, DiskFull: it could not be written, by any attempt.
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
