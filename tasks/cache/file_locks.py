"""
File locks between processes and threads, on flock(2): the kernel releases them when their holder dies.

They work on local file systems only. Lock files are closed in forked children, so that a child that outlives
its parent does not keep the parent's locks.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tasks.run.cancellation import raise_if_cancelled

T = TypeVar("T")

POLL_INTERVAL_S = 0.05

_open_descriptors: set[int] = set()
_open_descriptors_lock = threading.Lock()


def _after_fork() -> None:
    """Close the child's copies of lock files; the parent's locks stay, because the parent has them open."""
    global _open_descriptors_lock
    _open_descriptors_lock = threading.Lock()
    for fd in _open_descriptors:
        os.close(fd)
    _open_descriptors.clear()


os.register_at_fork(after_in_child=_after_fork)


def open_lock(path: Path) -> int:
    """Open a lock file, creating it if needed; close the descriptor with `close_lock`."""
    with _open_descriptors_lock:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _open_descriptors.add(fd)
    return fd


def close_lock(fd: int) -> None:
    """Close a lock file, which releases its lock."""
    with _open_descriptors_lock:
        if fd in _open_descriptors:
            _open_descriptors.remove(fd)
            os.close(fd)


def try_lock(fd: int) -> bool:
    """Acquire an exclusive lock without waiting; return False if it is held elsewhere."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def shared_lock(path: Path) -> Generator[None]:
    """Hold a shared lock inside the `with` block; waits for an exclusive holder."""
    with _flock(path, fcntl.LOCK_SH):
        yield


@contextmanager
def exclusive_lock(path: Path) -> Generator[None]:
    """Hold an exclusive lock inside the `with` block; waits for all other holders."""
    with _flock(path, fcntl.LOCK_EX):
        yield


@contextmanager
def _flock(path: Path, operation: int) -> Generator[None]:
    fd = open_lock(path)
    try:
        fcntl.flock(fd, operation)
        yield
    finally:
        close_lock(fd)


@contextmanager
def single_flight(path: Path, find_result: Callable[[], T | None]) -> Generator[T | None]:
    """
    Let one of several callers compute a result while the others wait for it.

    Args:
        path:        lock file of the computation; removed after use.
        find_result: returns the result if it exists, else None. Called while waiting and under the lock.

    Yields:
        The result of `find_result`. If it is None, the lock is held and the `with` block
        must compute the result.

    Raises:
        Cancelled: the job was canceled while it waited.
    """
    result, fd = find_result(), None
    while result is None:
        fd = try_acquire(path)
        if fd is not None:
            result = find_result()
            break
        raise_if_cancelled()
        time.sleep(POLL_INTERVAL_S)
        result = find_result()
    try:
        yield result
    finally:
        if fd is not None:
            release_lock(fd, path)


def try_acquire(path: Path) -> int | None:
    """Acquire the lock file at `path` without waiting; return None if it is held. Use with `release_lock`."""
    fd = open_lock(path)
    if try_lock(fd) and _is_current(fd, path):
        return fd
    close_lock(fd)
    return None


def release_lock(fd: int, path: Path) -> None:
    """Remove a lock file while it is locked, so that waiters reopen it, and then release the lock."""
    path.unlink(missing_ok=True)
    close_lock(fd)


def _is_current(fd: int, path: Path) -> bool:
    """Return whether the descriptor's file is still at `path`: its previous holder removes it on release."""
    try:
        return os.fstat(fd).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
