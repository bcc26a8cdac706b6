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
from musetalk_core.formats.atomic_files import replace_atomically
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.cache.file_locks import single_flight
from tasks.catalog.assets import asset_key, asset_missing_error, asset_name
from tasks.catalog.stored_results import StoredOutput, find_pinned
from tasks.errors import LocalPathDisabled, ObjectMissing, ResultReplaced
from tasks.file_names import plain_name
from tasks.inputs.internal_files import ArtefactFile, InternalFile, StoredFile, parse_artefact_uri
from tasks.outbound.downloads import WebFile, web_downloader
from tasks.refs import Artefact, ObjectRef, SourceFile
from tasks.settings import get_settings
from tasks.storage.bucket_grants import locate
from tasks.storage.folder_store import FolderStore
from tasks.storage.object_store import ObjectInfo, ObjectStore, OnBytes
from tasks.storage.protected_paths import path_is_inside
from tasks.storage.resumable_file import PartialFile
from tasks.storage.s3_store import home_store

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


@dataclass(frozen=True, slots=True)
class _Version:
    """Version and size of an input at its origin. An input without a version is always downloaded."""

    version: str | None
    size: int | None


class _InputOrigin(Protocol):
    uri: str

    def probe(self) -> _Version: ...
    def name(self) -> str: ...
    def fetch_into(self, part: PartialFile, expected: _Version, on_bytes: OnBytes | None) -> _Version: ...


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
    source = _fetch_unless_cached(_input_origin(reference), _max_bytes(kind), on_bytes)
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
    origin = _input_origin(uri)
    version = origin.probe()
    if version.size is not None:
        _check_size(version.size, _max_bytes(kind))
    return InputInfo(plain_name(origin.name()), version.size)


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
            _resolve_local_file(unquote(rest))
        case _:
            return


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
            _PinnedOrigin(source.stored, source.uri)
            if source.stored
            else _input_origin(parse_artefact_uri(source.uri) or source.uri)
        )
        fetched = _fetch_unless_cached(origin, source.size, None)
        if fetched.sha256 != source.sha256:
            raise ObjectMissing(
                f"{source.name} was replaced by another file while the job ran", name=source.name
            )
    return artefact_cache().path(artefact) / _FILE


def _fetch_unless_cached(origin: _InputOrigin, limit: int, on_bytes: OnBytes | None) -> SourceFile:
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
    origin: _InputOrigin, part: PartialFile, expected: _Version, on_bytes: OnBytes | None
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
        from musetalk_core.errors import MediaTooLarge

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


class _StoreOrigin:
    """An input in an object store."""

    def __init__(
        self, uri: str, objects: ObjectStore, key: str, name: Callable[[], str] | None = None
    ) -> None:
        self.uri, self._objects, self._key = uri, objects, key
        self._name = name

    def probe(self) -> _Version:
        return _to_version(self._objects.head(self._key))

    def name(self) -> str:
        return self._name() if self._name else self._key

    def fetch_into(self, part: PartialFile, expected: _Version, on_bytes: OnBytes | None) -> _Version:
        return _to_version(self._objects.download_into(part, self._key, expected.version, on_bytes))


def _to_version(info: ObjectInfo) -> _Version:
    return _Version(info.version, info.size)


class _PinnedOrigin:
    """An input that is the pinned output of another job."""

    def __init__(self, ref: ObjectRef, uri: str) -> None:
        self.uri, self._ref = uri, ref
        self._output: StoredOutput | None = None

    def _find(self) -> StoredOutput:
        self._output = self._output or find_pinned(self._ref)
        return self._output

    def probe(self) -> _Version:
        return _to_version(self._find().info)

    def name(self) -> str:
        return self._find().key

    def fetch_into(self, part: PartialFile, expected: _Version, on_bytes: OnBytes | None) -> _Version:
        output = self._find()
        actual = output.objects.download_into(part, output.key, output.info.version, on_bytes)
        if actual.version != output.info.version:
            part.restart()
            raise ResultReplaced(f"{plain_name(output.key)} was replaced while it was downloaded")
        return _to_version(actual)


class _WebOrigin:
    """An input on a web server."""

    def __init__(self, url: str) -> None:
        self.uri = url
        self._web_file: WebFile | None = None

    def probe(self) -> _Version:
        self._web_file = web_downloader().probe(self.uri)
        return _Version(self._web_file.version, self._web_file.size)

    def name(self) -> str:
        return unquote(self.uri.split("://", 1)[1].partition("/")[2].split("?", 1)[0])

    def fetch_into(self, part: PartialFile, expected: _Version, on_bytes: OnBytes | None) -> _Version:
        web_file = web_downloader().fetch_into(part, self.uri, self._web_file, on_bytes)
        return _Version(web_file.version, web_file.size)


class _ArtefactOrigin:
    """An input in the cache, made by another step."""

    def __init__(self, file: ArtefactFile) -> None:
        self.uri, self._file = file.uri, file.file
        artefact = artefact_cache().find(file.kind, file.key)
        if artefact is None:
            raise ObjectMissing(f"the {file.kind} cache entry {file.key[:12]}… is no longer in the cache")
        self._artefact = artefact

    def probe(self) -> _Version:
        return _Version(self._artefact.key, None)

    def name(self) -> str:
        return self._file

    def fetch_into(self, part: PartialFile, expected: _Version, on_bytes: OnBytes | None) -> _Version:
        part.restart()
        with artefact_cache().file(self._artefact, self._file).open("rb") as file:
            while block := file.read(1 << 20):
                part.write(block)
        return expected


class _AssetOrigin(_StoreOrigin):
    """An input that is an asset."""

    def __init__(self, asset: str) -> None:
        name = asset_name(asset)  # raises ObjectMissing if the tenant may not use the asset
        super().__init__(f"asset://{asset}", home_store(), asset_key(asset), lambda: name)
        self._asset = asset

    def probe(self) -> _Version:
        try:
            return super().probe()
        except ObjectMissing as error:
            raise asset_missing_error(self._asset) from error


def _input_origin(reference: str | InternalFile) -> _InputOrigin:
    match reference:
        case StoredFile():
            return _PinnedOrigin(reference.ref, reference.uri)
        case ArtefactFile():
            return _ArtefactOrigin(reference)
        case str():
            return _parse_reference(reference)


def _parse_reference(uri: str) -> _InputOrigin:
    """Return the origin of a media reference from a job."""
    scheme, _, rest = uri.partition("://")
    match scheme.lower():
        case "s3":
            location = locate(uri, "read")
            return _StoreOrigin(f"s3://{rest}", location.objects, location.key)
        case "https" | "http":
            return _WebOrigin(uri)
        case "asset":
            return _AssetOrigin(rest)
        case "file":
            objects, key = _resolve_local_file(unquote(rest))
            return _StoreOrigin(uri, objects, key)
        case _:
            raise InputError(
                f"{uri[:100]!r} is not a media reference: use s3://bucket/key, https://…, asset://ID or"
                " job://ID"
            )


def _resolve_local_file(path: str) -> tuple[FolderStore, str]:
    """
    Return the allowed folder that contains a file, and the file's key in it, after resolving links.

    The system's own store, cache, database, logs and keys are excluded, even below an allowed folder.

    Raises:
        LocalPathDisabled: no allowed folder contains the file, or it is excluded.
    """
    try:
        resolved = Path(path).resolve() if Path(path).is_absolute() else None
    except (OSError, RuntimeError, ValueError):
        resolved = None
    for root in (root.resolve() for root in get_settings().store.local_roots):
        if resolved is not None and resolved != root and resolved.is_relative_to(root):
            if path_is_inside(resolved, _private_folders()):
                break
            return FolderStore(root), resolved.relative_to(root).as_posix()
    raise LocalPathDisabled(
        "Local files are not allowed as inputs. Upload the file, or use s3:// or https://. An operator can"
        " allow folders with MUSETALK_STORE__LOCAL_ROOTS."
    )


def _private_folders() -> Iterator[Path]:
    """Yield the folders and files that no job may read by path, including subfolders that are mounts."""
    settings, store = get_settings(), home_store()
    if isinstance(store, FolderStore):
        yield store.root
        yield from (path for path in store.root.iterdir() if path.is_dir())
    yield from (settings.cache_folder, settings.prefect_home, settings.logs)
    yield settings.api.keys_file or settings.home / "keys.json"
