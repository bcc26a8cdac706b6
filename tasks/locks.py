"""
Locks between processes and threads on flock(2): the kernel drops them when their holder dies.

Local file systems only. Open lock files are closed in forked children, so that a child that outlives its
parent does not keep the parent's locks.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.05

_held: set[int] = set()
_guard = threading.Lock()


def _after_fork() -> None:
    """Close the copies of the parent's locks; closing one of several copies releases nothing."""
    global _guard
    _guard = threading.Lock()
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)


def open_lock(path: Path) -> int:
    """Open (and make) a lock file; give the descriptor back to `close_lock`."""
    with _guard:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _held.add(fd)
    return fd


def close_lock(fd: int) -> None:
    """Close a lock file, which releases its lock."""
    with _guard:
        if fd in _held:
            _held.remove(fd)
            os.close(fd)


def try_lock(fd: int) -> bool:
    """Take the lock without waiting; False when somebody has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def shared(path: Path) -> Generator[None]:
    """Hold a lock that others may share; waits for an exclusive holder."""
    with _locked(path, fcntl.LOCK_SH):
        yield


@contextmanager
def exclusive(path: Path) -> Generator[None]:
    """Hold a lock alone; waits for everybody."""
    with _locked(path, fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(path: Path, how: int) -> Generator[None]:
    fd = open_lock(path)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        close_lock(fd)


@contextmanager
def single_flight(path: Path, done: Callable[[], T | None]) -> Generator[T | None]:
    """
    Let one of many do a piece of work while the others wait for its result.

    Args:
        path: lock file of this work; removed after use.
        done: the result if it is there, else None. Asked while waiting, and again with the lock held.

    Yields:
        What `done` gave, or None: then the lock is held and the body must do the work.
    """
    result, fd = done(), None
    while result is None:
        fd = try_take(path)
        if fd is not None:
            result = done()
            break
        time.sleep(POLL_S)
        result = done()
    try:
        yield result
    finally:
        if fd is not None:
            give_back(fd, path)


def try_take(path: Path) -> int | None:
    """Take the lock file at `path` without waiting; give it back with `give_back`."""
    fd = open_lock(path)
    if try_lock(fd) and _is_current(fd, path):
        return fd
    close_lock(fd)
    return None


def give_back(fd: int, path: Path) -> None:
    """Remove a lock file while it is held (who waits for it sees that it went), then release it."""
    path.unlink(missing_ok=True)
    close_lock(fd)


def _is_current(fd: int, path: Path) -> bool:
    """Tell whether the file behind the descriptor still has the name (its last holder removes it)."""
    try:
        return os.fstat(fd).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
