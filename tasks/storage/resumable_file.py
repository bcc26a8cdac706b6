"""Partial files of downloads: appended to, hashed while written, and resumed after an interruption."""

import errno
import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from musetalk_core.errors import DiskFull, MediaTooLarge
from tasks.run.counters import STORE_ERRORS, count

_DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_BLOCK_BYTES = 1 << 20


@contextmanager
def translate_disk_errors() -> Generator[None]:
    """Translate the system errors "no space", "file too large" and "over quota" to DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL_ERRNOS:
            raise
        count(STORE_ERRORS, "folder", DiskFull.code)
        raise DiskFull(
            "The worker's disk is full or a size limit of the system was reached. Free some space and retry."
        ) from error


class PartialFile:
    """
    The downloaded beginning of a file, on disk, with the SHA-256 of its bytes.

    Use it as a context manager. An interruption keeps the file, so that the next attempt can resume. The file
    is removed if it exceeds its limit or the disk is full.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        """
        Open or create the partial file, and hash the bytes that it already has.

        Args:
            path:  path of the partial file.
            limit: size in bytes above which `write` raises MediaTooLarge; None for no limit.
        """
        self.path, self.limit = path, limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0
        self._file.seek(0)
        while block := self._file.read(_BLOCK_BYTES):
            self._count_block(block)

    @classmethod
    def open_beside(cls, target: Path, version: str, limit: int | None = None) -> Self:
        """Open the partial file of one version of `target`, in the same folder."""
        return cls(cls.path_beside(target, version), limit)

    @staticmethod
    def path_beside(target: Path, version: str) -> Path:
        """Return the path of the partial file of one version of `target`, whether it exists or not."""
        version_digest = hashlib.sha256(version.encode()).hexdigest()[:12]
        return target.with_name(f"{target.name}.{version_digest}.part")

    def _count_block(self, block: bytes) -> None:
        self._hash.update(block)
        self.size += len(block)

    def check_size(self, size: int) -> None:
        """
        Check an announced size in bytes against the limit.

        Raises:
            MediaTooLarge: the size exceeds the limit.
        """
        if self.limit is not None and size > self.limit:
            raise MediaTooLarge(
                f"The file is larger than the {self.limit / 1e6:.0f} MB allowed here.", limit=self.limit
            )

    def write(self, block: bytes) -> None:
        """
        Append a block of bytes.

        Raises:
            MediaTooLarge: the file would exceed its limit.
            DiskFull:      the disk is full, or a size limit of the system was reached.
        """
        self.check_size(self.size + len(block))
        with translate_disk_errors():
            written = 0
            while written < len(block):
                written += self._file.write(memoryview(block)[written:])
        self._count_block(block)

    def restart(self) -> None:
        """Discard the bytes, which belong to other content, and start at zero."""
        if self.size:
            self._file.seek(0)
            self._file.truncate()
            self._hash, self.size = hashlib.sha256(), 0

    def sha256(self) -> str:
        """Return the SHA-256 of the bytes so far, 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def move_to(self, target: Path) -> None:
        """Move the finished file to `target`, replacing a file of that name."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._file.close()
        if kind is not None and issubclass(kind, MediaTooLarge | DiskFull):
            self.path.unlink(missing_ok=True)
