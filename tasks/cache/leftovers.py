"""Removal of unfinished cache entries that killed processes left behind."""

import shutil
from pathlib import Path

from tasks.cache.file_locks import release_lock, try_acquire


def remove_abandoned_folders(cache: Path) -> list[Path]:
    """
    Remove the unfinished entries of killed processes from a cache.

    A process that creates an entry holds the entry's lock, and the kernel releases the lock when the process
    dies. Therefore an unfinished entry whose lock is free is abandoned.

    Args:
        cache: a cache folder on this machine.

    Returns:
        The folders that were removed.
    """
    removed: list[Path] = []
    for draft in (cache / "tmp").glob("*-*.*-*"):
        lock = cache / "locks" / f"{draft.name.rpartition('.')[0]}.lock"
        fd = try_acquire(lock) if lock.exists() else None
        if fd is None and lock.exists():
            continue
        shutil.rmtree(draft, ignore_errors=True)
        removed.append(draft)
        if fd is not None:
            release_lock(fd, lock)
    return removed
