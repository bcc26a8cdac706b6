"""
Leases: which cache entries the processes of this machine use.

Each process has one lease file, locked with flock while the process lives, that lists the entries it has used
since `release()`. Names are added under the shared `evict.lock`; eviction holds that lock exclusively. So a
name is either listed before the evictor reads the leases, or looked up after the eviction has finished.
"""

import os
import threading
import weakref
from pathlib import Path
from uuid import uuid4

from tasks.cache.file_locks import close_lock, open_lock, shared_lock, try_lock


class Leases:
    """The lease file of this process, and access to the lease files of all processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "leases"
        self.evict_lock = folder / "evict.lock"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        """Reset to no lease file; also called in a forked child, because its parent keeps the old file."""
        self._mutex = threading.Lock()
        self._names: set[str] = set()
        self._fd = -1
        self._path: Path | None = None

    def acquire(self, name: str) -> None:
        """Protect an entry from eviction until `release()`. Call this before looking the entry up."""
        with self._mutex:
            if name in self._names:
                return
            with shared_lock(self.evict_lock):
                os.write(self._open_own_file(), f"{name}\n".encode())
            self._names.add(name)

    def release(self) -> None:
        """Release all leases of this process."""
        with self._mutex:
            if self._fd >= 0:
                with shared_lock(self.evict_lock):
                    os.ftruncate(self._fd, 0)
                    os.lseek(self._fd, 0, os.SEEK_SET)
            self._names.clear()

    def active(self, *, others_only: bool = False) -> set[str]:
        """
        Return the entries that live processes use, and remove the lease files of dead processes.

        The caller must hold `evict_lock` exclusively.
        """
        names: set[str] = set()
        for path in self._folder.iterdir():
            if others_only and path == self._path:
                continue
            fd = open_lock(path)
            try:
                if try_lock(fd):
                    path.unlink(missing_ok=True)
                else:
                    names.update(path.read_text().split())
            finally:
                close_lock(fd)
        return names

    def _open_own_file(self) -> int:
        """Open this process's file. The caller holds `evict_lock`, else an evictor could remove the file."""
        if self._fd < 0:
            self._path = self._folder / f"{os.getpid()}-{uuid4().hex}"
            self._fd = open_lock(self._path)
            try_lock(self._fd)
        return self._fd


_instances: weakref.WeakSet[Leases] = weakref.WeakSet()


def _after_fork() -> None:
    for leases in list(_instances):
        leases._reset()  # pyright: ignore[reportPrivateUsage]  the same module


os.register_at_fork(after_in_child=_after_fork)
