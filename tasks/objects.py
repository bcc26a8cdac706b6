"""What an object store is to us, and the one that is a folder of this machine."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote
from uuid import uuid4

from tasks.errors import BucketNotAllowed, ObjectMissing, OutputExists, StorageError
from tasks.partial import Part, disk_errors

BLOCK = 1 << 20
_BAD_KEY = re.compile(r"[\x00-\x1f\x7f]")
_TEMPORARY, _METADATA = ".incoming", ".metadata"

OnBytes = Callable[[int], None]
"""Called with the number of bytes that just arrived."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says about one object."""

    uri: str
    key: str
    size: int
    version: str
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)
    """What the uploader added; not filled in by `list`."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An upload that was begun and has not ended, or has broken off."""

    key: str
    upload: str
    begun: datetime


class Objects(Protocol):
    """An object store, or one prefix of it: keys are relative to that prefix."""

    def uri(self, key: str) -> str:
        """Name an object for people and other systems."""
        ...

    def head(self, key: str, version: str | None = None) -> ObjectInfo:
        """
        Look at an object; raises ObjectMissing.

        Where older versions are kept, `version` selects one; elsewhere the newest is returned, and callers
        compare `ObjectInfo.version`.
        """
        ...

    def find(self, key: str) -> ObjectInfo | None:
        """Look at an object that may not be there."""
        ...

    def download_into(
        self, part: Part, key: str, version: str | None = None, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Append to `part` what it lacks; an object that was replaced is read from its beginning."""
        ...

    def download(
        self, key: str, version: str | None, target: Path, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Write an object to `target`, going on with the part that an interrupted call left beside it."""
        ...

    def upload(
        self,
        path: Path,
        key: str,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """
        Store a file; it appears whole or not at all. Raises OutputExists when not to overwrite.

        Returns what this call stored, even where another call has replaced it meanwhile.
        """
        ...

    def put_bytes(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Store a small object from memory, on the terms of `upload`; many may write one key at once."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield an object's bytes in blocks of at most 1 MiB; errors come with the first block."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; it may be gone already."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, ordered by key."""
        ...

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the uploads that are under way, or have broken off and left something."""
        ...

    def size_of(self, unfinished: Unfinished) -> int:
        """Add up the bytes that have arrived of an upload."""
        ...

    def give_up(self, unfinished: Unfinished) -> None:
        """End an upload and remove what has arrived; it may be gone already."""
        ...

    def presigned_url(
        self, key: str, seconds: int, version: str | None = None, disposition: str | None = None
    ) -> str | None:
        """
        Make a link that works without credentials for a while; None where there are no such links.

        Args:
            key:         the object.
            seconds:     how long the link works.
            version:     where versions are kept, the one to give whatever is stored later.
            disposition: Content-Disposition of the answer.
        """
        ...


def checked_key(key: str) -> str:
    """
    Return the key if it is fit for every store: no empty part, no `.` or `..`, at most 1024 bytes.

    Raises:
        BucketNotAllowed: it is not.
    """
    parts = key.split("/")
    if _BAD_KEY.search(key) or len(key.encode()) > 1024 or any(part in ("", ".", "..") for part in parts):
        raise BucketNotAllowed(f"{key[:100]!r} cannot be used as a key: it has empty, '.' or '..' parts")
    return key


def found(objects: Objects, key: str) -> ObjectInfo | None:
    """Look at an object that may not be there: `Objects.find` for every store."""
    try:
        return objects.head(key)
    except ObjectMissing:
        return None


def read_small(objects: Objects, key: str, limit: int = BLOCK) -> bytes:
    """Return a whole small object; raises StorageError above `limit` bytes."""
    data = b""
    for block in objects.read(key, 0, limit + 1):
        data += block
    if len(data) > limit:
        raise StorageError(f"{objects.uri(key)} is larger than the {limit} bytes expected")
    return data


def download(
    objects: Objects, key: str, version: str | None, target: Path, on_bytes: OnBytes | None
) -> ObjectInfo:
    """Write an object to `target`: `Objects.download` for every store."""
    with Part.beside(target, version or "latest") as part:
        info = objects.download_into(part, key, version, on_bytes)
        part.move_to(target)
    return info


class FolderObjects:
    """
    A store in a folder. Keys are relative paths and never lead out of it.

    Metadata lies in `.metadata/`, content types are not kept.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def path(self, key: str) -> Path:
        """
        Return where an object lies.

        Raises:
            BucketNotAllowed: the key leads out of the folder.
        """
        path = self.root / checked_key(key)
        if not path.resolve().is_relative_to(self.root):
            raise BucketNotAllowed(f"{key[:100]!r} leads out of the store's folder")
        return path

    def uri(self, key: str) -> str:
        """Name an object by its path, percent-encoded."""
        return self.path(key).as_uri()

    def key_of(self, uri: str) -> str | None:
        """Return the key that `uri` gave a name to; None for what lies elsewhere."""
        path = uri.removeprefix("file://")
        for known in (unquote(path), path):  # references written before names were encoded
            if uri.startswith("file://") and known.startswith(f"{self.root.as_posix()}/"):
                return known.removeprefix(f"{self.root.as_posix()}/")
        return None

    def head(self, key: str, version: str | None = None) -> ObjectInfo:
        """Look at an object; its version is made of inode, time and size."""
        with self._errors(key):
            path = self.path(key)
            if not path.is_file():
                raise FileNotFoundError(key)
            return self._info(key, path.stat())

    def find(self, key: str) -> ObjectInfo | None:
        """Look at an object that may not be there."""
        return found(self, key)

    def _info(self, key: str, stat: os.stat_result) -> ObjectInfo:
        modified = datetime.fromtimestamp(stat.st_mtime, UTC)
        version = _version(stat)
        return ObjectInfo(self.uri(key), key, stat.st_size, version, modified, self._metadata(key, version))

    def _note(self, key: str) -> Path:
        return self.root / _METADATA / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _metadata(self, key: str, version: str) -> Mapping[str, str]:
        """Read the metadata of this version; what belongs to another one is as good as none."""
        try:
            note = json.loads(self._note(key).read_bytes())
        except (OSError, ValueError):
            return {}
        return dict(note["metadata"]) if note.get("version") == version else {}

    def download_into(
        self, part: Part, key: str, version: str | None = None, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Append to `part` what it lacks of an object."""
        with self._errors(key), self.path(key).open("rb") as file:
            info = self._info(key, os.fstat(file.fileno()))
            if info.version != version:
                part.restart()
            file.seek(part.size)
            while block := file.read(BLOCK):
                part.write(block)
                if on_bytes:
                    on_bytes(len(block))
        if part.size != info.size:
            part.restart()
            raise StorageError(f"{info.uri} was being written while it was read; try again")
        return info

    def download(
        self, key: str, version: str | None, target: Path, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Copy an object to `target`."""
        return download(self, key, version, target, on_bytes)

    def upload(
        self,
        path: Path,
        key: str,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Copy a file in and give it its name at the end."""
        del content_type
        return self._put(key, lambda incoming: shutil.copyfile(path, incoming), metadata, overwrite)

    def put_bytes(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Write an object and give it its name at the end."""
        del content_type
        return self._put(key, lambda incoming: incoming.write_bytes(data), metadata, overwrite)

    def _put(
        self,
        key: str,
        fill: Callable[[Path], object],
        metadata: Mapping[str, str] | None,
        overwrite: bool,
    ) -> ObjectInfo:
        """Let `fill` write a file of its own, then rename it; what a crash leaves, `unfinished` lists."""
        target, incoming = self.path(key), self.root / _TEMPORARY / uuid4().hex
        note = incoming.with_suffix(".json")
        for folder in (incoming.parent, self._note(key).parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with disk_errors():
                fill(incoming)
                target.parent.mkdir(parents=True, exist_ok=True)
                stat = incoming.stat()  # the version stays when the file gets its name
                about = {"version": _version(stat), "metadata": dict(metadata or {})}
                note.write_text(json.dumps(about))
                if overwrite:
                    incoming.replace(target)
                else:
                    target.hardlink_to(incoming)
                if metadata:
                    note.replace(self._note(key))
        except FileExistsError as error:
            raise OutputExists(f"{self.uri(key)} exists and is not to be overwritten", key=key) from error
        finally:
            incoming.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
        return ObjectInfo(
            self.uri(key),
            key,
            stat.st_size,
            _version(stat),
            datetime.fromtimestamp(stat.st_mtime, UTC),
            dict(metadata or {}),
        )

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield an object's bytes."""
        with self._errors(key), self.path(key).open("rb") as file:
            file.seek(start)
            left = length
            while left is None or left > 0:
                block = file.read(BLOCK if left is None else min(BLOCK, left))
                if not block:
                    return
                left = None if left is None else left - len(block)
                yield block

    def delete(self, key: str) -> None:
        """Remove an object; its folder stays, somebody may be about to write into it."""
        self.path(key).unlink(missing_ok=True)
        self._note(key).unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, ordered by key."""
        folder, slash, _ = prefix.rpartition("/")
        within = self.path(folder) if slash else self.root
        files = (path for path in within.rglob("*") if path.is_file() and not path.is_symlink())
        keys = sorted(path.relative_to(self.root).as_posix() for path in files)
        for key in keys:
            if key.startswith(prefix) and not key.startswith((f"{_TEMPORARY}/", f"{_METADATA}/")):
                yield self.head(key)

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the files that have not got their names."""
        folder = self.root / _TEMPORARY
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                yield Unfinished(path.name, path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC))

    def size_of(self, unfinished: Unfinished) -> int:
        """Return how much of a file was copied."""
        try:
            return (self.root / _TEMPORARY / unfinished.upload).stat().st_size
        except FileNotFoundError:
            return 0

    def give_up(self, unfinished: Unfinished) -> None:
        """Remove a file that has not got its name."""
        (self.root / _TEMPORARY / unfinished.upload).unlink(missing_ok=True)

    def presigned_url(
        self, key: str, seconds: int, version: str | None = None, disposition: str | None = None
    ) -> str | None:
        """Return None: a folder has no links."""
        return None

    @contextmanager
    def _errors(self, key: str) -> Generator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectMissing(f"there is no file {key} in the store", key=key) from error
        except PermissionError as error:
            raise BucketNotAllowed(f"this service may not read {key}; check the file's rights") from error


def _version(stat: os.stat_result) -> str:
    return f"f:{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
