"""A file that is being fetched: appended to, hashed on the way, and continued after an interruption."""

import errno
import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from musetalk_core.errors import DiskFull, MediaTooLarge

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_BLOCK = 1 << 20


@contextmanager
def disk_errors() -> Generator[None]:
    """Turn "no space", "file too large" and "over quota" of the system into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            "The worker's disk is full or a size limit of the system was reached; free some space and retry."
        ) from error


class Part:
    """
    The beginning of a file, on disk, with its SHA-256.

    Use it as a context manager: an interruption leaves the file for the next try to continue; what is too
    large is removed.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        """
        Open the part, reading what is there already.

        Args:
            path:  the part's file.
            limit: bytes above which `write` raises MediaTooLarge; None for no limit.
        """
        self.path, self.limit = path, limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._count(block)

    @classmethod
    def beside(cls, target: Path, version: str, limit: int | None = None) -> Self:
        """Open the part of one version of a file that is to be `target`."""
        return cls(cls.path_beside(target, version), limit)

    @staticmethod
    def path_beside(target: Path, version: str) -> Path:
        """Return where the part of one version of `target` lies, begun or not."""
        mark = hashlib.sha256(version.encode()).hexdigest()[:12]
        return target.with_name(f"{target.name}.{mark}.part")

    def _count(self, block: bytes) -> None:
        self._hash.update(block)
        self.size += len(block)

    def expect(self, size: int) -> None:
        """
        Refuse a file that announces more bytes than the limit.

        Raises:
            MediaTooLarge: it does.
        """
        if self.limit is not None and size > self.limit:
            raise MediaTooLarge(
                f"The file is larger than the {self.limit / 1e6:.0f} MB allowed here.", limit=self.limit
            )

    def write(self, block: bytes) -> None:
        """
        Append.

        Raises:
            MediaTooLarge: the part would exceed its limit.
            DiskFull:      the disk or a size limit of the system is exhausted.
        """
        self.expect(self.size + len(block))
        with disk_errors():
            written = 0
            while written < len(block):
                written += self._file.write(memoryview(block)[written:])
        self._count(block)

    def restart(self) -> None:
        """Throw away what is there: it belongs to another content."""
        if self.size:
            self._file.seek(0)
            self._file.truncate()
            self._hash, self.size = hashlib.sha256(), 0

    def sha256(self) -> str:
        """Return the hash of what is there, 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def move_to(self, target: Path) -> None:
        """Give the finished file its name, replacing what had it."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._file.close()
        if kind is not None and issubclass(kind, MediaTooLarge | DiskFull):
            self.path.unlink(missing_ok=True)
