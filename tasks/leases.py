"""
Which artefacts are in use, by all processes of this machine.

Each process has one lease file, locked with flock as long as the process lives, that lists what it touched
since `release()`. Names are added under the shared `evict.lock`; who evicts holds it alone. So a name is
either listed before the evictor reads the leases, or looked up after it has finished.
"""

import os
import threading
import weakref
from pathlib import Path
from uuid import uuid4

from tasks.locks import close_lock, open_lock, shared, try_lock


class Leases:
    """The lease file of this process, and a look at everybody's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "leases"
        self.evict_lock = folder / "evict.lock"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._forget()
        _all.add(self)

    def _forget(self) -> None:
        """Start without a file; also what a forked child does, for its parent keeps the old one."""
        self._mutex = threading.Lock()
        self._names: set[str] = set()
        self._fd = -1
        self._path: Path | None = None

    def hold(self, name: str) -> None:
        """Keep an artefact from being evicted until `release()`; look for it only afterwards."""
        with self._mutex:
            if name in self._names:
                return
            with shared(self.evict_lock):
                os.write(self._own(), f"{name}\n".encode())
            self._names.add(name)

    def release(self) -> None:
        """Let everything go that this process held."""
        with self._mutex:
            if self._fd >= 0:
                with shared(self.evict_lock):
                    os.ftruncate(self._fd, 0)
                    os.lseek(self._fd, 0, os.SEEK_SET)
            self._names.clear()

    def live(self, *, others_only: bool = False) -> set[str]:
        """
        Collect what living processes hold, and remove the files of dead ones.

        Call it with `evict_lock` held alone.
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

    def _own(self) -> int:
        """Open this process's file; with `evict_lock` held, or an evictor could take it for a dead one's."""
        if self._fd < 0:
            self._path = self._folder / f"{os.getpid()}-{uuid4().hex}"
            self._fd = open_lock(self._path)
            try_lock(self._fd)
        return self._fd


_all: weakref.WeakSet[Leases] = weakref.WeakSet()


def _after_fork() -> None:
    for leases in list(_all):
        leases._forget()  # pyright: ignore[reportPrivateUsage]  the same module


os.register_at_fork(after_in_child=_after_fork)
