"""Objects that are written in several sessions: interface, and the implementation for each kind of store."""

from typing import Protocol

from tasks.storage.folder_appends import FolderAppend
from tasks.storage.folder_store import FolderStore
from tasks.storage.object_store import ObjectStore
from tasks.storage.s3_appends import S3Append
from tasks.storage.s3_store import S3Store


class AppendSession(Protocol):
    """Exclusive write access to an unfinished object, from its offset on."""

    offset: int
    """Number of bytes written, including those that `sync` has not made durable yet."""

    def write(self, block: bytes) -> None:
        """Append a block; raises DiskFull or StorageError."""
        ...

    def sync(self) -> None:
        """Return when everything written would survive the end of this process."""
        ...

    def close(self) -> None:
        """Give up the access."""
        ...


class AppendTarget(Protocol):
    """One unfinished object in a store. The state is in the store: any process can continue."""

    def begin(self) -> str:
        """Create the unfinished object and return its token, which later targets need."""
        ...

    def offset(self) -> int:
        """Return the number of stored bytes; all of them once the object is complete."""
        ...

    def open(self, offset: int) -> AppendSession:
        """
        Start a session.

        Args:
            offset: where the next byte belongs.

        Raises:
            OffsetMismatch: the stored part ends elsewhere.
            UploadLocked:   another process has a session.
        """
        ...

    def complete(self) -> None:
        """Give the object its key; does nothing if it has it already."""
        ...

    def abort(self) -> None:
        """Remove what was stored; a completed object stays."""
        ...


def append_target(store: ObjectStore, key: str, draft: str, size: int, token: str = "") -> AppendTarget:
    """
    Return the unfinished object of a key.

    Args:
        store: a folder store or a store in S3.
        key:   key of the complete object.
        draft: prefix of keys for unfinished data; they must belong to this upload alone.
        size:  size of the complete object in bytes.
        token: what `begin` returned; empty before.
    """
    if isinstance(store, S3Store):
        return S3Append(store, key, f"{draft}tail", size, token)
    if not isinstance(store, FolderStore):
        raise TypeError(f"{type(store).__name__} does not support appending")
    return FolderAppend(store, key, f"{draft}data", size)
