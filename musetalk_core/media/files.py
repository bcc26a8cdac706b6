"""Writing a file so that it is either whole or absent, and saying plainly when the disk is full."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from musetalk_core.errors import DiskFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that a disk, quota or file size limit is exhausted."""
    return isinstance(error, OSError) and error.errno in _FULL


def disk_full(target: Path) -> DiskFull:
    """Build the error for a file that found no room."""
    return DiskFull(
        f"{target.name} could not be written: the disk or a file size limit is full; free some space."
    )


@contextmanager
def scratch_beside(target: Path, suffix: str | None = None) -> Generator[Path]:
    """
    Give a temporary sibling of a file that vanishes with the block.

    Args:
        target: an existing folder's file, present or not.
        suffix: of the sibling; None = the target's.

    Yields:
        a path that no other thread, process or machine uses; the block may create it.
    """
    temporary = target.with_name(f".{target.stem}.{uuid4().hex[:12]}.part{suffix or target.suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """
    Give a temporary sibling that becomes `target` when the block ends well and vanishes when it does not.

    Args:
        target: the file wanted; its folder must exist.

    Yields:
        a path in the same folder with the same suffix; the block creates it.

    Raises:
        DiskFull: the block met a full disk, quota or file size limit.
    """
    with scratch_beside(target) as temporary:
        try:
            yield temporary
            temporary.replace(target)
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(target) from error
            raise
