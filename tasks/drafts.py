"""Half-made artefacts of processes that were killed: removed when nobody holds their lock."""

import shutil
from pathlib import Path

from tasks.locks import give_back, try_take


def sweep_drafts(cache: Path) -> list[Path]:
    """
    Remove what killed makers left in a cache.

    A maker holds its artefact's lock, which the kernel drops when it dies: so whose lock is free is nobody's.

    Args:
        cache: folder of a cache on this machine.

    Returns:
        The folders that were removed.
    """
    removed: list[Path] = []
    for draft in (cache / "tmp").glob("*-*.*-*"):
        lock = cache / "locks" / f"{draft.name.rpartition('.')[0]}.lock"
        fd = try_take(lock) if lock.exists() else None
        if fd is None and lock.exists():
            continue
        shutil.rmtree(draft, ignore_errors=True)
        removed.append(draft)
        if fd is not None:
            give_back(fd, lock)
    return removed
