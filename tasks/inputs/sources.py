"""
Fetching of inputs from S3, the web, assets, other jobs and local folders, with a cache by content.

Each input is probed once per job and downloaded only if its content is not in the cache. An identity file
maps (reference, version, size) to a SHA-256, and the bytes are a cache entry of kind `source` with that hash
as its key. `tasks.inputs.origins` reads the inputs where they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from musetalk_core.errors import MediaTooLarge, MediaUnreadable
from musetalk_core.formats.atomic_files import replace_atomically
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.cache.file_locks import single_flight
from tasks.errors import ObjectMissing
from tasks.file_names import plain_name
from tasks.inputs.internal_files import InternalFile, StoredFile, parse_artefact_uri
from tasks.inputs.origins import InputOrigin, InputVersion, PinnedOrigin, input_origin
from tasks.refs import Artefact, SourceFile
from tasks.settings import get_settings
from tasks.storage.object_store import OnBytes
from tasks.storage.resumable_file import PartialFile

MediaKind = Literal["video", "audio", "image", "text"]
MAX_TEXT_BYTES = 50_000_000
"""Size limit of manifests and captions."""
_FILE = "data"


@dataclass(frozen=True, slots=True)
class InputInfo:
    """Name and size of an input that was probed but not downloaded."""

    name: str
    size: int | None
    """Size in bytes; None if the origin does not say."""


def fetch_source(
    reference: str | InternalFile, *, kind: MediaKind, on_bytes: OnBytes | None = None
) -> SourceFile:
    """
    Fetch an input to this machine, unless its content is in the cache.

    The origin is probed once, and nothing is downloaded if the cached copy has the same version. The next
    call resumes an interrupted download.

    Args:
        reference: `s3://`, `https://`, `asset://`, or `file://` below an allowed folder and outside the
            system's own store; or an internal file. The caller resolves `job://` references.
        kind:      selects the size limit.
        on_bytes:  called with the number of bytes that just arrived.

    Returns:
        The source; `source_path` returns its file.

    Raises:
        ResultReplaced: the pinned output was replaced by another object.
        ObjectMissing, BucketNotAllowed, InputUnreachable, LocalPathDisabled, StorageError: the input cannot
            be read.
        MediaTooLarge: the input exceeds the size limit of its kind.
        InputError:    the reference has no supported form.
        DiskFull:      the disk is full.
    """
    source = _fetch_unless_cached(input_origin(reference), _max_bytes(kind), on_bytes)
    return (
        source.model_copy(update={"stored": reference.ref}) if isinstance(reference, StoredFile) else source
    )


def probe_input(uri: str, kind: MediaKind) -> InputInfo:
    """
    Return name and size of an input without downloading it; raises the errors of `fetch_source`.

    Args:
        uri:  a media reference.
        kind: selects the size limit.
    """
    origin = input_origin(uri)
    version = origin.probe()
    if version.size is not None:
        _check_size(version.size, _max_bytes(kind))
    return InputInfo(plain_name(origin.name()), version.size)


def _max_bytes(kind: MediaKind) -> int:
    media = get_settings().media
    sizes = {"video": media.video_bytes, "audio": media.audio_bytes, "image": media.still_bytes}
    return sizes.get(kind, MAX_TEXT_BYTES)


def source_path(source: SourceFile) -> Path:
    """
    Return the local file of a source, fetching it again if this machine does not have it.

    Raises:
        ObjectMissing: the reference now leads to other content.
    """
    artefact = _source_artefact(source.sha256, source.size)
    if not artefact_cache().has(artefact.kind, artefact.key):
        origin = (
            PinnedOrigin(source.stored, source.uri)
            if source.stored
            else input_origin(parse_artefact_uri(source.uri) or source.uri)
        )
        try:
            fetched = _fetch_unless_cached(origin, source.size, None)
        except (MediaTooLarge, MediaUnreadable) as error:  # larger than the source, or empty
            raise _replaced_error(source) from error
        if fetched.sha256 != source.sha256:
            raise _replaced_error(source)
    return artefact_cache().path(artefact) / _FILE


def _replaced_error(source: SourceFile) -> ObjectMissing:
    return ObjectMissing(f"{source.name} was replaced by another file while the job ran", name=source.name)


def _fetch_unless_cached(origin: InputOrigin, limit: int, on_bytes: OnBytes | None) -> SourceFile:
    expected = origin.probe()
    identity = content_key(uri=origin.uri, version=expected.version, size=expected.size)
    identity_path = artefact_cache().folder / "identities" / f"{identity}.json"
    lock = artefact_cache().folder / "locks" / f"identity-{identity}.lock"
    find_known: Callable[[], SourceFile | None] = (
        (lambda: _load_identity(identity_path, origin.uri)) if expected.version else (lambda: None)
    )
    with single_flight(lock, find_known) as source:
        if source is not None:
            _check_size(source.size, limit)
            return source
        artefact_cache().make_room()
        part_path = artefact_cache().folder / "parts" / f"{identity}.part"
        with PartialFile(part_path, limit) as part:
            if expected.version is None:
                part.restart()
            if expected.size is not None:
                part.check_size(expected.size)
            source = _download_to_cache(origin, part, expected, on_bytes)
    return source


def _download_to_cache(
    origin: InputOrigin, part: PartialFile, expected: InputVersion, on_bytes: OnBytes | None
) -> SourceFile:
    """Download into `part`, store it in the cache by content, and save the identity that was downloaded."""
    actual = origin.fetch_into(part, expected, on_bytes)
    if not part.size:
        part.path.unlink()
        raise MediaUnreadable(f"{plain_name(origin.name())} is empty; upload or export it again")
    source = SourceFile(
        sha256=part.sha256(),
        size=part.size,
        name=plain_name(origin.name()),
        uri=origin.uri,
        version=actual.version,
    )
    store = artefact_cache()
    store.get_or_create("source", source.sha256, lambda folder: part.move_to(folder / _FILE), shared=False)
    part.path.unlink(missing_ok=True)  # the same bytes were already in the cache, from another reference
    if actual.version is not None:
        identity = content_key(uri=origin.uri, version=actual.version, size=actual.size)
        _save_identity(store.folder / "identities" / f"{identity}.json", source)
    return source


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise MediaTooLarge(f"The file is larger than the {limit / 1e6:.0f} MB allowed here.", limit=limit)


def _load_identity(identity_path: Path, uri: str) -> SourceFile | None:
    """Return the source of a saved identity if its bytes are in the cache, else None."""
    try:
        source = SourceFile.model_validate_json(identity_path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if source.uri != uri or not artefact_cache().has("source", source.sha256):
        return None
    identity_path.touch()
    return source


def _save_identity(identity_path: Path, source: SourceFile) -> None:
    identity_path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(identity_path) as draft:  # several jobs may save the same identity at once
        draft.write_text(source.model_dump_json())


def _source_artefact(sha256: str, size: int) -> Artefact:
    return Artefact.model_construct(kind="source", key=sha256, size=size, files=(_FILE,))
