"""Object store in a local folder, with atomic writes; it has no URLs that give access without credentials."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

from tasks.errors import BucketNotAllowed, ObjectMissing, OutputExists, StorageError
from tasks.run.counters import STORE_ERRORS, count
from tasks.storage.object_store import (
    BLOCK_BYTES,
    ObjectInfo,
    OnBytes,
    PendingUpload,
    download_object,
    head_or_none,
    validate_key,
)
from tasks.storage.resumable_file import PartialFile, translate_disk_errors

_READ_ONLY_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS}
_TEMPORARY_FOLDER, _METADATA_FOLDER = ".incoming", ".metadata"
_MAX_PLACE_TRIES = 20


class FolderStore:
    """
    An object store in a local folder. Keys are relative paths and never lead out of the folder.

    Metadata is stored in `.metadata/`; content types are not stored.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def path(self, key: str) -> Path:
        """
        Return the path of an object.

        Raises:
            BucketNotAllowed: the key leads out of the folder.
        """
        path = self.root / validate_key(key)
        if not path.resolve().is_relative_to(self.root):
            raise BucketNotAllowed(f"{key[:100]!r} leads out of the store's folder")
        return path

    def uri(self, key: str) -> str:
        """Return the file URI of an object, percent-encoded."""
        return self.path(key).as_uri()

    def key_of(self, uri: str) -> str | None:
        """Return the key of a URI from `uri`; None for a URI outside this store."""
        path = uri.removeprefix("file://")
        for candidate in (unquote(path), path):  # references written before names were encoded
            if uri.startswith("file://") and candidate.startswith(f"{self.root.as_posix()}/"):
                return candidate.removeprefix(f"{self.root.as_posix()}/")
        return None

    def head(self, key: str, version: str | None = None) -> ObjectInfo:
        """Return the metadata of an object; its version consists of inode, time and size."""
        with self._translate_errors(key):
            path = self.path(key)
            if not path.is_file():
                raise FileNotFoundError(key)
            return self._info(key, path.stat())

    def find(self, key: str) -> ObjectInfo | None:
        """Return the metadata of an object, or None if it does not exist."""
        return head_or_none(self, key)

    def _info(self, key: str, stat: os.stat_result) -> ObjectInfo:
        modified = datetime.fromtimestamp(stat.st_mtime, UTC)
        version = _version_of(stat)
        return ObjectInfo(
            self.uri(key), key, stat.st_size, version, modified, self._read_metadata(key, version)
        )

    def _metadata_path(self, key: str) -> Path:
        return self.root / _METADATA_FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _read_metadata(self, key: str, version: str) -> Mapping[str, str]:
        """Return the user metadata of this version; empty if the note belongs to another version."""
        try:
            note = json.loads(self._metadata_path(key).read_bytes())
        except (OSError, ValueError):
            return {}
        return dict(note["metadata"]) if note.get("version") == version else {}

    def download_into(
        self, part: PartialFile, key: str, version: str | None = None, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Copy the rest of an object into `part`."""
        with self._translate_errors(key), self.path(key).open("rb") as file:
            info = self._info(key, os.fstat(file.fileno()))
            if info.version != version:
                part.restart()
            file.seek(part.size)
            while block := file.read(BLOCK_BYTES):
                part.write(block)
                if on_bytes:
                    on_bytes(len(block))
        if part.size != info.size:
            part.restart()
            raise StorageError(f"{info.uri} changed while it was read; try again")
        return info

    def download(
        self, key: str, version: str | None, target: Path, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Copy an object to `target`."""
        return download_object(self, key, version, target, on_bytes)

    def upload(
        self,
        path: Path,
        key: str,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Copy a file into the store under a temporary name, then rename it."""
        del content_type
        return self._write_and_rename(
            key, lambda incoming: shutil.copyfile(path, incoming), metadata, overwrite
        )

    def put_bytes(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Write an object under a temporary name, then rename it."""
        del content_type
        return self._write_and_rename(key, lambda incoming: incoming.write_bytes(data), metadata, overwrite)

    def _write_and_rename(
        self,
        key: str,
        fill: Callable[[Path], object],
        metadata: Mapping[str, str] | None,
        overwrite: bool,
    ) -> ObjectInfo:
        """Let `fill` write a temporary file, then rename it. `pending_uploads` lists leftovers of crashes."""
        target, incoming = self.path(key), self.root / _TEMPORARY_FOLDER / uuid4().hex
        note = incoming.with_suffix(".json")
        try:
            with translate_disk_errors():
                for folder in (incoming.parent, self._metadata_path(key).parent):
                    folder.mkdir(parents=True, exist_ok=True)
                fill(incoming)
                stat = incoming.stat()  # a rename does not change the version
                metadata_note = {"version": _version_of(stat), "metadata": dict(metadata or {})}
                note.write_text(json.dumps(metadata_note))
                place_file(incoming, target, overwrite=overwrite)
                if metadata:
                    note.replace(self._metadata_path(key))
        except FileExistsError as error:
            raise OutputExists(f"{self.uri(key)} exists and must not be overwritten", key=key) from error
        except OSError as error:
            if error.errno not in _READ_ONLY_ERRNOS:
                raise
            raise BucketNotAllowed(
                "This service may not write to the folder of the store. Make it writable for this user,"
                " or set MUSETALK_HOME or MUSETALK_STORE__URL to another one."
            ) from error
        finally:
            for leftover in (incoming, note):
                with contextlib.suppress(PermissionError):
                    leftover.unlink(missing_ok=True)
        return ObjectInfo(
            self.uri(key),
            key,
            stat.st_size,
            _version_of(stat),
            datetime.fromtimestamp(stat.st_mtime, UTC),
            dict(metadata or {}),
        )

    def read(
        self, key: str, start: int = 0, length: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        """Yield an object's bytes in blocks of at most 1 MiB."""
        with self._translate_errors(key), self.path(key).open("rb") as file:
            if version is not None and _version_of(os.fstat(file.fileno())) != version:
                raise StorageError(f"{key} was replaced while it was read")
            file.seek(start)
            remaining = length
            while remaining is None or remaining > 0:
                block = file.read(BLOCK_BYTES if remaining is None else min(BLOCK_BYTES, remaining))
                if not block:
                    return
                remaining = None if remaining is None else remaining - len(block)
                yield block

    def delete(self, key: str) -> None:
        """Delete an object, and the folders that it leaves empty."""
        path = self.path(key)
        path.unlink(missing_ok=True)
        self._metadata_path(key).unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root:
                return
            try:
                folder.rmdir()
            except FileNotFoundError:  # another process removed it
                continue
            except OSError:  # not empty
                return

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, ordered by key; reads only what is asked for."""
        folder, slash, _ = prefix.rpartition("/")
        if slash:
            self.path(folder)  # checks that it is inside the store
        for key in self._keys_below(folder + slash, prefix, after or ""):
            info = self.find(key)
            if info is not None:  # else it was deleted meanwhile
                yield info

    def _keys_below(self, folder: str, prefix: str, after: str) -> Iterator[str]:
        """Yield the keys in a folder ("" or "a/b/") in the order of whole keys: "a.txt" before "a/b"."""
        try:
            with os.scandir(self.root / folder) as entries:
                names = sorted(
                    folder + entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
                    for entry in entries
                    if not entry.is_symlink()
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if name in (f"{_TEMPORARY_FOLDER}/", f"{_METADATA_FOLDER}/"):
                continue
            if name.endswith("/"):
                is_wanted = name.startswith(prefix) or prefix.startswith(name)
                if is_wanted and (name > after or after.startswith(name)):
                    yield from self._keys_below(name, prefix, after)
            elif name.startswith(prefix) and name > after:
                yield name

    def pending_uploads(self) -> Iterator[PendingUpload]:
        """Yield the files that still have a temporary name."""
        folder = self.root / _TEMPORARY_FOLDER
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                yield PendingUpload(path.name, path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC))

    def pending_size(self, pending: PendingUpload) -> int:
        """Return the number of bytes that were copied of an upload."""
        try:
            return (self.root / _TEMPORARY_FOLDER / pending.upload).stat().st_size
        except FileNotFoundError:
            return 0

    def abort(self, pending: PendingUpload) -> None:
        """Remove a file that still has a temporary name."""
        (self.root / _TEMPORARY_FOLDER / pending.upload).unlink(missing_ok=True)

    def presigned_url(
        self, key: str, seconds: int, version: str | None = None, disposition: str | None = None
    ) -> str | None:
        """Return None: a folder store has no URLs."""
        return None

    @contextmanager
    def _translate_errors(self, key: str) -> Generator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectMissing(f"there is no file {key} in the store", key=key) from error
        except PermissionError as error:
            count(STORE_ERRORS, "folder", BucketNotAllowed.code)
            raise BucketNotAllowed(f"this service may not read {key}; check its permissions") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if folder.exists() and not folder.is_dir():  # else it was removed between two system calls
            raise


def place_file(incoming: Path, target: Path, *, overwrite: bool) -> None:
    """Give a complete file its name, in a folder that `delete` of another process may remove meanwhile."""
    for tries_left in reversed(range(_MAX_PLACE_TRIES)):
        try:
            _make_folder(target.parent)
            if overwrite:
                incoming.replace(target)
            else:
                target.hardlink_to(incoming)
        except FileNotFoundError:
            if not tries_left:
                raise
        else:
            return


def _version_of(stat: os.stat_result) -> str:
    return f"f:{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
