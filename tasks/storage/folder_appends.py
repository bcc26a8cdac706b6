"""
Files of a folder store that are written in several sessions.

The size of the unfinished file is the offset. It survives a killed process; after a power failure it may be
smaller than a client last saw, except that bytes are durable (fsync) when `sync` returns.
"""

import fcntl
import os
import shutil

from musetalk_core.errors import DiskFull
from tasks.errors import ObjectMissing, OffsetMismatch, UploadLocked
from tasks.storage.folder_store import FolderStore, place_file
from tasks.storage.resumable_file import translate_disk_errors


class FolderAppend:
    """An unfinished file, and the file that it becomes."""

    def __init__(self, store: FolderStore, key: str, draft_key: str, size: int) -> None:
        """
        Name an unfinished file; changes nothing.

        Args:
            store:     the store.
            key:       key of the complete file.
            draft_key: key of the unfinished file.
            size:      size of the complete file in bytes.
        """
        self._size = size
        self._draft, self._final = store.path(draft_key), store.path(key)

    def begin(self) -> str:
        """Create the empty file; raise DiskFull if the disk has too little space. The token is empty."""
        with translate_disk_errors():
            self._draft.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self._draft.parent).free < self._size:
                self._draft.parent.rmdir()
                raise DiskFull(
                    "The disk of the store has too little space for the file. Free some and retry."
                )
            self._draft.touch()
        return ""

    def offset(self) -> int:
        """Return the size of the unfinished file, or of the complete one."""
        for path in (self._draft, self._final):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                continue
        raise ObjectMissing(f"There is no unfinished file {self._draft.name}.")

    def open(self, offset: int) -> "FolderSession":
        """Lock the file for writing; see `AppendTarget.open`."""
        try:
            return FolderSession(os.open(self._draft, os.O_RDWR | os.O_APPEND), offset)
        except FileNotFoundError as error:
            if not self._final.exists():
                raise ObjectMissing(f"There is no unfinished file {self._draft.name}.") from error
            raise OffsetMismatch(f"The upload is complete: all {self._size} bytes are stored.") from error

    def complete(self) -> None:
        """Rename the file, which copies nothing."""
        try:
            place_file(self._draft, self._final, overwrite=True)
        except FileNotFoundError:
            if not self._final.exists():
                raise

    def abort(self) -> None:
        """Delete the unfinished file."""
        self._draft.unlink(missing_ok=True)


class FolderSession:
    """An open file that no other process writes to."""

    def __init__(self, descriptor: int, offset: int) -> None:
        """
        Lock an open file and check its size.

        Args:
            descriptor: file descriptor; closed with the session, and on errors.
            offset:     expected size of the file.

        Raises:
            UploadLocked:   another session has the file.
            OffsetMismatch: the file has another size.
        """
        self._descriptor, self.offset = descriptor, offset
        try:
            self._lock_and_check()
        except BlockingIOError as error:
            os.close(descriptor)
            raise UploadLocked("Another request is writing to the upload.") from error
        except BaseException:
            os.close(descriptor)
            raise

    def _lock_and_check(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stat = os.fstat(self._descriptor)
        if not stat.st_nlink:  # deleted between open and lock
            raise UploadLocked("Another request has just deleted the upload.")
        if stat.st_size != self.offset:
            raise OffsetMismatch(f"The next byte of the upload has the offset {stat.st_size}.")

    def write(self, block: bytes) -> None:
        """Append a block; raises DiskFull."""
        view = memoryview(block)
        with translate_disk_errors():
            while view:
                written = os.write(self._descriptor, view)
                self.offset += written
                view = view[written:]

    def sync(self) -> None:
        """Return when the disk has the bytes."""
        with translate_disk_errors():
            os.fdatasync(self._descriptor)

    def truncate(self, offset: int) -> None:
        """Discard all bytes after an offset."""
        os.ftruncate(self._descriptor, offset)
        self.offset = offset

    def close(self) -> None:
        """Close the file, which releases the lock."""
        os.close(self._descriptor)
