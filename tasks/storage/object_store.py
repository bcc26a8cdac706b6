"""Interface of object stores, the rules for keys, and functions that every implementation shares."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from tasks.errors import BucketNotAllowed, ObjectMissing, StorageError
from tasks.storage.resumable_file import PartialFile

BLOCK_BYTES = 1 << 20
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")

OnBytes = Callable[[int], None]
"""Callback that receives the number of bytes that just arrived."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Metadata of one object: URI, key, size in bytes, version and modification time."""

    uri: str
    key: str
    size: int
    version: str
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)
    """User metadata of the uploader; not filled in by `list`."""


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An upload that was started and not completed: in progress, or interrupted."""

    key: str
    upload: str
    started_at: datetime


class ObjectStore(Protocol):
    """An object store, or one prefix of it. Keys are relative to that prefix."""

    def uri(self, key: str) -> str:
        """Return the URI of an object."""
        ...

    def head(self, key: str, version: str | None = None) -> ObjectInfo:
        """
        Return the metadata of an object; raise ObjectMissing if there is none.

        In a versioned bucket `version` selects a version. Elsewhere the newest is returned, and callers
        compare `ObjectInfo.version`.
        """
        ...

    def find(self, key: str) -> ObjectInfo | None:
        """Return the metadata of an object, or None if it does not exist."""
        ...

    def download_into(
        self, part: PartialFile, key: str, version: str | None = None, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Download the rest of an object into `part`; restart the part if the object was replaced."""
        ...

    def download(
        self, key: str, version: str | None, target: Path, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Download an object to `target`, resuming the partial file that an interrupted call left."""
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
        Store a file atomically. Without `overwrite`, raise OutputExists if the key exists.

        Returns the metadata of what this call stored, even if another call has replaced it meanwhile.
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
        """Store a small object from memory, as `upload` does; concurrent writes to one key are safe."""
        ...

    def read(
        self, key: str, start: int = 0, length: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        """
        Yield an object's bytes in blocks of at most 1 MiB; errors are raised with the first block.

        With `version` only that version is read; StorageError if it has been replaced.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete an object; a missing object is ignored."""
        ...

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """
        Yield the objects whose key starts with `prefix`, ordered by key.

        Args:
            prefix: start of the keys.
            after:  leave out this key and all keys before it, at no cost.
        """
        ...

    def pending_uploads(self) -> Iterator[PendingUpload]:
        """Yield the uploads that are in progress, or were interrupted and left data."""
        ...

    def pending_size(self, pending: PendingUpload) -> int:
        """Return the number of bytes that have arrived of an upload."""
        ...

    def abort(self, pending: PendingUpload) -> None:
        """Abort an upload and remove its data; a missing upload is ignored."""
        ...

    def presigned_url(
        self, key: str, seconds: int, version: str | None = None, disposition: str | None = None
    ) -> str | None:
        """
        Return a URL that gives access without credentials for a while; None if the store has no such URLs.

        Args:
            key:         key of the object.
            seconds:     lifetime of the URL in seconds.
            version:     in a versioned bucket, the version to serve whatever is stored later.
            disposition: Content-Disposition of the response.
        """
        ...


def validate_key(key: str) -> str:
    """
    Return a key if it is valid in every store: no empty segment, no `.` or `..`, at most 1024 bytes.

    Raises:
        BucketNotAllowed: the key is not valid.
    """
    parts = key.split("/")
    if (
        _CONTROL_CHARACTER.search(key)
        or len(key.encode()) > 1024
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise BucketNotAllowed(
            f"{key[:100]!r} cannot be used as a key: it has a control character, a segment that is empty, '.'"
            " or '..', or more than 1024 bytes"
        )
    return key


def head_or_none(objects: ObjectStore, key: str) -> ObjectInfo | None:
    """Return the metadata of an object or None: the implementation of `ObjectStore.find` for every store."""
    try:
        return objects.head(key)
    except ObjectMissing:
        return None


def read_small(objects: ObjectStore, key: str, limit: int = BLOCK_BYTES) -> bytes:
    """Return the content of a small object; raise StorageError if it has more than `limit` bytes."""
    data = b""
    for block in objects.read(key, 0, limit + 1):
        data += block
    if len(data) > limit:
        raise StorageError(f"{objects.uri(key)} is larger than the {limit} bytes expected")
    return data


def download_object(
    objects: ObjectStore, key: str, version: str | None, target: Path, on_bytes: OnBytes | None
) -> ObjectInfo:
    """Download an object to `target`: the implementation of `ObjectStore.download` for every store."""
    with PartialFile.open_beside(target, version or "latest") as part:
        info = objects.download_into(part, key, version, on_bytes)
        part.move_to(target)
    return info
