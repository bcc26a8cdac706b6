"""
Fetching of inputs from S3, the web, assets, other jobs and local folders, with a cache by content.

Each input is probed once per job and downloaded only if its content is not in the cache. An identity file
maps (reference, version, size) to a SHA-256, and the bytes are a cache entry of kind `source` with that hash
as its key. External names and keys never become paths.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import unquote

from musetalk_core.errors import InputError, MediaUnreadable
from musetalk_core.media.files import replacing
from tasks.artefacts import artefacts, content_key
from tasks.assets import asset_key, asset_missing, asset_name
from tasks.bucket_grants import locate
from tasks.egress import WebFile, egress
from tasks.errors import LocalPathDisabled, ObjectMissing, ResultReplaced
from tasks.file_names import plain_name
from tasks.internal_files import ArtefactFile, InternalFile, StoredFile, parse_artefact_uri
from tasks.locks import single_flight
from tasks.objects import FolderObjects, ObjectInfo, Objects, OnBytes
from tasks.partial import Part
from tasks.protected_paths import path_is_inside
from tasks.refs import Artefact, ObjectRef, SourceFile
from tasks.settings import get_settings
from tasks.storage import home_store
from tasks.stored_results import StoredOutput, find_pinned

MediaKind = Literal["video", "audio", "image", "text"]
TEXT_BYTES = 50_000_000
"""Size limit of manifests and captions."""
_FILE = "data"


@dataclass(frozen=True, slots=True)
class Glimpse:
    """Name and size of an input that was probed but not downloaded."""

    name: str
    size: int | None
    """Size in bytes; None if the origin does not say."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """Version and size of an input at its origin. An input without a version is always downloaded."""

    version: str | None
    size: int | None


class _Origin(Protocol):
    uri: str

    def look(self) -> _Seen: ...
    def name(self) -> str: ...
    def fetch_into(self, part: Part, seen: _Seen, on_bytes: OnBytes | None) -> _Seen: ...


def fetch_source(
    where: str | InternalFile, *, kind: MediaKind, on_bytes: OnBytes | None = None
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
    source = _fetched(_origin(where), _limit(kind), on_bytes)
    return source.model_copy(update={"stored": where.ref}) if isinstance(where, StoredFile) else source


def look(uri: str, kind: MediaKind) -> Glimpse:
    """
    Return name and size of an input without downloading it; raises the errors of `fetch_source`.

    Args:
        uri:  a media reference.
        kind: selects the size limit.
    """
    origin = _origin(uri)
    seen = origin.look()
    if seen.size is not None:
        _check_size(seen.size, _limit(kind))
    return Glimpse(plain_name(origin.name()), seen.size)


def check_reference(uri: str) -> None:
    """
    Raise the access errors of `fetch_source` that follow from the spelling alone. Sends nothing.

    Assets, jobs and web addresses are checked when they are fetched.

    Args:
        uri: a media reference, or a folder.

    Raises:
        BucketNotAllowed:  the grants do not allow reading it, or it is part of the system's own store.
        LocalPathDisabled: it is outside the folders that the operator allowed, or part of the system's own
            store.
    """
    scheme, _, rest = uri.partition("://")
    match scheme.lower():
        case "s3":
            locate(uri, "read")
        case "file":
            _local(unquote(rest))
        case _:
            return


def _limit(kind: MediaKind) -> int:
    media = get_settings().media
    sizes = {"video": media.video_bytes, "audio": media.audio_bytes, "image": media.still_bytes}
    return sizes.get(kind, TEXT_BYTES)


def source_path(source: SourceFile) -> Path:
    """
    Return the local file of a source, fetching it again if this machine does not have it.

    Raises:
        ObjectMissing: the reference now leads to other content.
    """
    wanted = _artefact(source.sha256, source.size)
    if not artefacts().has(wanted.kind, wanted.key):
        origin = (
            _Pinned(source.stored, source.uri)
            if source.stored
            else _origin(parse_artefact_uri(source.uri) or source.uri)
        )
        found = _fetched(origin, source.size, None)
        if found.sha256 != source.sha256:
            raise ObjectMissing(
                f"{source.name} was replaced by another file while the job ran", name=source.name
            )
    return artefacts().path(wanted) / _FILE


def _fetched(origin: _Origin, limit: int, on_bytes: OnBytes | None) -> SourceFile:
    seen = origin.look()
    identity = content_key(uri=origin.uri, version=seen.version, size=seen.size)
    note = artefacts().folder / "identities" / f"{identity}.json"
    lock = artefacts().folder / "locks" / f"identity-{identity}.lock"
    known: Callable[[], SourceFile | None] = (
        (lambda: _remembered(note, origin.uri)) if seen.version else (lambda: None)
    )
    with single_flight(lock, known) as found:
        if found is not None:
            _check_size(found.size, limit)
            return found
        artefacts().make_room()
        part_path = artefacts().folder / "parts" / f"{identity}.part"
        with Part(part_path, limit) as part:
            if seen.version is None:
                part.restart()
            if seen.size is not None:
                part.expect(seen.size)
            found = _kept(origin, part, seen, on_bytes)
    return found


def _kept(origin: _Origin, part: Part, seen: _Seen, on_bytes: OnBytes | None) -> SourceFile:
    """Download into `part`, store it in the cache by content, and save the identity that was downloaded."""
    really = origin.fetch_into(part, seen, on_bytes)
    if not part.size:
        part.path.unlink()
        raise MediaUnreadable(f"{plain_name(origin.name())} is empty; upload or export it again")
    source = SourceFile(
        sha256=part.sha256(),
        size=part.size,
        name=plain_name(origin.name()),
        uri=origin.uri,
        version=really.version,
    )
    store = artefacts()
    store.made_once("source", source.sha256, lambda folder: part.move_to(folder / _FILE), shared=False)
    part.path.unlink(missing_ok=True)  # the same bytes were already in the cache, from another reference
    if really.version is not None:
        identity = content_key(uri=origin.uri, version=really.version, size=really.size)
        _remember(store.folder / "identities" / f"{identity}.json", source)
    return source


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        from musetalk_core.errors import MediaTooLarge

        raise MediaTooLarge(f"The file is larger than the {limit / 1e6:.0f} MB allowed here.", limit=limit)


def _remembered(note: Path, uri: str) -> SourceFile | None:
    """Return the source of a saved identity if its bytes are in the cache, else None."""
    try:
        source = SourceFile.model_validate_json(note.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if source.uri != uri or not artefacts().has("source", source.sha256):
        return None
    note.touch()
    return source


def _remember(note: Path, source: SourceFile) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    with replacing(note) as draft:  # several jobs may save the same identity at once
        draft.write_text(source.model_dump_json())


def _artefact(sha256: str, size: int) -> Artefact:
    return Artefact.model_construct(kind="source", key=sha256, size=size, files=(_FILE,))


class _Stored:
    """An input in an object store."""

    def __init__(self, uri: str, objects: Objects, key: str, name: Callable[[], str] | None = None) -> None:
        self.uri, self._objects, self._key = uri, objects, key
        self._name = name

    def look(self) -> _Seen:
        return _seen(self._objects.head(self._key))

    def name(self) -> str:
        return self._name() if self._name else self._key

    def fetch_into(self, part: Part, seen: _Seen, on_bytes: OnBytes | None) -> _Seen:
        return _seen(self._objects.download_into(part, self._key, seen.version, on_bytes))


def _seen(info: ObjectInfo) -> _Seen:
    return _Seen(info.version, info.size)


class _Pinned:
    """An input that is the pinned output of another job."""

    def __init__(self, ref: ObjectRef, uri: str) -> None:
        self.uri, self._ref = uri, ref
        self._found: StoredOutput | None = None

    def _find(self) -> StoredOutput:
        self._found = self._found or find_pinned(self._ref)
        return self._found

    def look(self) -> _Seen:
        return _seen(self._find().info)

    def name(self) -> str:
        return self._find().key

    def fetch_into(self, part: Part, seen: _Seen, on_bytes: OnBytes | None) -> _Seen:
        found = self._find()
        really = found.objects.download_into(part, found.key, found.info.version, on_bytes)
        if really.version != found.info.version:
            part.restart()
            raise ResultReplaced(f"{plain_name(found.key)} was replaced while it was downloaded")
        return _seen(really)


class _Web:
    """An input on a web server."""

    def __init__(self, url: str) -> None:
        self.uri = url
        self._found: WebFile | None = None

    def look(self) -> _Seen:
        self._found = egress().look(self.uri)
        return _Seen(self._found.version, self._found.size)

    def name(self) -> str:
        return unquote(self.uri.split("://", 1)[1].partition("/")[2].split("?", 1)[0])

    def fetch_into(self, part: Part, seen: _Seen, on_bytes: OnBytes | None) -> _Seen:
        found = egress().fetch_into(part, self.uri, self._found, on_bytes)
        return _Seen(found.version, found.size)


class _Made:
    """An input in the cache, made by another step."""

    def __init__(self, made: ArtefactFile) -> None:
        self.uri, self._file = made.uri, made.file
        found = artefacts().find(made.kind, made.key)
        if found is None:
            raise ObjectMissing(f"the {made.kind} cache entry {made.key[:12]}… is no longer in the cache")
        self._artefact = found

    def look(self) -> _Seen:
        return _Seen(self._artefact.key, None)

    def name(self) -> str:
        return self._file

    def fetch_into(self, part: Part, seen: _Seen, on_bytes: OnBytes | None) -> _Seen:
        part.restart()
        with artefacts().file(self._artefact, self._file).open("rb") as file:
            while block := file.read(1 << 20):
                part.write(block)
        return seen


class _Uploaded(_Stored):
    """An input that is an asset."""

    def __init__(self, asset: str) -> None:
        name = asset_name(asset)  # raises ObjectMissing if the tenant may not use the asset
        super().__init__(f"asset://{asset}", home_store(), asset_key(asset), lambda: name)
        self._asset = asset

    def look(self) -> _Seen:
        try:
            return super().look()
        except ObjectMissing as error:
            raise asset_missing(self._asset) from error


def _origin(where: str | InternalFile) -> _Origin:
    match where:
        case StoredFile():
            return _Pinned(where.ref, where.uri)
        case ArtefactFile():
            return _Made(where)
        case str():
            return _public(where)


def _public(uri: str) -> _Origin:
    """Return the origin of a media reference from a job."""
    scheme, _, rest = uri.partition("://")
    match scheme.lower():
        case "s3":
            place = locate(uri, "read")
            return _Stored(f"s3://{rest}", place.objects, place.key)
        case "https" | "http":
            return _Web(uri)
        case "asset":
            return _Uploaded(rest)
        case "file":
            objects, key = _local(unquote(rest))
            return _Stored(uri, objects, key)
        case _:
            raise InputError(
                f"{uri[:100]!r} is not a media reference: use s3://bucket/key, https://…, asset://ID or"
                " job://ID"
            )


def _local(path: str) -> tuple[FolderObjects, str]:
    """
    Return the allowed folder that contains a file, and the file's key in it, after resolving links.

    The system's own store, cache, database, logs and keys are excluded, even below an allowed folder.

    Raises:
        LocalPathDisabled: no allowed folder contains the file, or it is excluded.
    """
    try:
        real = Path(path).resolve() if Path(path).is_absolute() else None
    except (OSError, RuntimeError, ValueError):
        real = None
    for root in (root.resolve() for root in get_settings().store.local_roots):
        if real is not None and real != root and real.is_relative_to(root):
            if path_is_inside(real, _private_folders()):
                break
            return FolderObjects(root), real.relative_to(root).as_posix()
    raise LocalPathDisabled(
        "Local files are not allowed as inputs. Upload the file, or use s3:// or https://. An operator can"
        " allow folders with MUSETALK_STORE__LOCAL_ROOTS."
    )


def _private_folders() -> Iterator[Path]:
    """Yield the folders and files that no job may read by path, including subfolders that are mounts."""
    settings, store = get_settings(), home_store()
    if isinstance(store, FolderObjects):
        yield store.root
        yield from (path for path in store.root.iterdir() if path.is_dir())
    yield from (settings.cache_folder, settings.prefect_home, settings.logs)
    yield settings.api.keys_file or settings.home / "keys.json"
