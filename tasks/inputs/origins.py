"""
Origins of inputs: object stores, the web, assets, outputs of other jobs, the cache and local folders.

An origin reports version and size of an input, and downloads it. `tasks.inputs.sources` adds the cache.
External names and keys never become paths.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from musetalk_core.errors import InputError
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.assets import asset_key, asset_missing_error, asset_name
from tasks.catalog.stored_results import StoredOutput, find_pinned
from tasks.errors import LocalPathDisabled, ObjectMissing, ResultReplaced
from tasks.file_names import plain_name
from tasks.inputs.internal_files import ArtefactFile, InternalFile, StoredFile
from tasks.outbound.address_rules import validate_url
from tasks.outbound.downloads import WebFile, web_downloader
from tasks.refs import ObjectRef
from tasks.settings import get_settings
from tasks.storage.bucket_grants import locate
from tasks.storage.folder_store import FolderStore
from tasks.storage.home_store import home_store
from tasks.storage.object_store import ObjectInfo, ObjectStore, OnBytes
from tasks.storage.protected_paths import path_is_inside
from tasks.storage.resumable_file import PartialFile


@dataclass(frozen=True, slots=True)
class InputVersion:
    """Version and size of an input at its origin. An input without a version is always downloaded."""

    version: str | None
    size: int | None


class InputOrigin(Protocol):
    """The place from which one input is read."""

    uri: str

    def probe(self) -> InputVersion:
        """Return version and size without downloading the input."""
        ...

    def name(self) -> str:
        """Return the name of the input's file."""
        ...

    def fetch_into(self, part: PartialFile, expected: InputVersion, on_bytes: OnBytes | None) -> InputVersion:
        """Download the rest of the input into `part`, and return the version that was downloaded."""
        ...


def check_reference(uri: str) -> None:
    """
    Raise the access errors of `fetch_source` that follow from the spelling alone. Sends nothing.

    Assets, jobs and the addresses of host names are checked when they are fetched.

    Args:
        uri: a media reference, or a folder.

    Raises:
        InputBlocked:      a web address that the settings forbid, such as a private IP address.
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
        case "https" | "http":
            validate_url(uri, get_settings().egress)
        case _:
            return


def input_origin(reference: str | InternalFile) -> InputOrigin:
    """
    Return the origin of a media reference or internal file; raises the access errors of `fetch_source`.

    Nothing is downloaded.
    """
    match reference:
        case StoredFile():
            return PinnedOrigin(reference.ref, reference.uri)
        case ArtefactFile():
            return _ArtefactOrigin(reference)
        case str():
            return _parse_reference(reference)


def _parse_reference(uri: str) -> InputOrigin:
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
    yield settings.link_key_file
    yield settings.mark_key_file
    yield from filter(None, (settings.provenance_folder, settings.provenance.private_key))


class _StoreOrigin:
    """An input in an object store."""

    def __init__(
        self, uri: str, objects: ObjectStore, key: str, name: Callable[[], str] | None = None
    ) -> None:
        self.uri, self._objects, self._key = uri, objects, key
        self._name = name

    def probe(self) -> InputVersion:
        return _to_version(self._objects.head(self._key))

    def name(self) -> str:
        return self._name() if self._name else self._key

    def fetch_into(self, part: PartialFile, expected: InputVersion, on_bytes: OnBytes | None) -> InputVersion:
        return _to_version(self._objects.download_into(part, self._key, expected.version, on_bytes))


def _to_version(info: ObjectInfo) -> InputVersion:
    return InputVersion(info.version or None, info.size)


class PinnedOrigin:
    """An input that is the pinned output of another job."""

    def __init__(self, ref: ObjectRef, uri: str) -> None:
        self.uri, self._ref = uri, ref
        self._output: StoredOutput | None = None

    def _find(self) -> StoredOutput:
        self._output = self._output or find_pinned(self._ref)
        return self._output

    def probe(self) -> InputVersion:
        """Return version and size of the output."""
        return _to_version(self._find().info)

    def name(self) -> str:
        """Return the key of the output."""
        return self._find().key

    def fetch_into(self, part: PartialFile, expected: InputVersion, on_bytes: OnBytes | None) -> InputVersion:
        """Download the output; raise ResultReplaced if it is replaced meanwhile."""
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

    def probe(self) -> InputVersion:
        self._web_file = web_downloader().probe(self.uri)
        return InputVersion(self._web_file.version, self._web_file.size)

    def name(self) -> str:
        return unquote(self.uri.split("://", 1)[1].partition("/")[2].split("?", 1)[0])

    def fetch_into(self, part: PartialFile, expected: InputVersion, on_bytes: OnBytes | None) -> InputVersion:
        web_file = web_downloader().fetch_into(part, self.uri, self._web_file, on_bytes)
        return InputVersion(web_file.version, web_file.size)


class _ArtefactOrigin:
    """An input in the cache, made by another step."""

    def __init__(self, file: ArtefactFile) -> None:
        self.uri, self._file = file.uri, file.file
        artefact = artefact_cache().find(file.kind, file.key)
        if artefact is None:
            raise ObjectMissing(f"the {file.kind} cache entry {file.key[:12]}… is no longer in the cache")
        self._artefact = artefact

    def probe(self) -> InputVersion:
        return InputVersion(self._artefact.key, None)

    def name(self) -> str:
        return self._file

    def fetch_into(self, part: PartialFile, expected: InputVersion, on_bytes: OnBytes | None) -> InputVersion:
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

    def probe(self) -> InputVersion:
        try:
            return super().probe()
        except ObjectMissing as error:
            raise asset_missing_error(self._asset) from error
