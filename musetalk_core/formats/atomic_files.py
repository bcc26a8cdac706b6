"""Atomic file writes through a temporary sibling, and detection of a full disk."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from musetalk_core.errors import DiskFull

_DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error means that the disk is full or a quota or file size limit is reached."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL_ERRNOS


def disk_full_error(target: Path) -> DiskFull:
    """Return the error for a file that could not be written because the disk is full."""
    return DiskFull(
        f"{target.name} could not be written: the disk or a file size limit is full; free some space."
    )


@contextmanager
def temporary_sibling(target: Path, suffix: str | None = None) -> Generator[Path]:
    """
    Yield a temporary path beside a file; the file at it is deleted when the block ends.

    Args:
        target: a file, existing or not, in an existing folder.
        suffix: of the temporary path; None = the suffix of `target`.

    Yields:
        A path that no other thread, process or machine uses. The block may create the file.
    """
    temporary = target.with_name(f".{target.stem}.{uuid4().hex[:12]}.part{suffix or target.suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replace_atomically(target: Path) -> Generator[Path]:
    """
    Yield a temporary path that replaces `target` when the block succeeds and is deleted when it fails.

    Args:
        target: the file to write; its folder must exist.

    Yields:
        A path in the same folder with the same suffix. The block creates the file.

    Raises:
        DiskFull: the disk is full, or a quota or file size limit is reached.
    """
    with temporary_sibling(target) as temporary:
        try:
            yield temporary
            temporary.replace(target)
        except OSError as error:
            if is_disk_full(error):
                raise disk_full_error(target) from error
            raise
