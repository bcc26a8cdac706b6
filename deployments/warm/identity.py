"""Which process is which, across restarts: told apart by machine boot, process id and start time."""

import os
import socket
from functools import lru_cache
from pathlib import Path


def process_mark(pid: int) -> str | None:
    """
    Return what names a process of this machine for good; None when there is no such process (any more).

    Two containers on one machine have different process namespaces and so different marks.
    """
    start = _start_time(pid)
    return None if start is None else f"{machine()}/{pid}/{start}"


@lru_cache
def machine() -> str:
    """Return what names this boot of this machine, and this process namespace on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116  a link of the kernel's
    except OSError:
        return socket.gethostname()


def is_gone(mark: str) -> bool | None:
    """
    Tell whether a process has ended.

    Args:
        mark: of `process_mark`.

    Returns:
        None when it belongs to another machine, container or boot, of which nothing is known here.
    """
    where, _, rest = mark.rpartition("/")
    where, _, pid = where.rpartition("/")
    if where != machine() or not pid.isdigit():
        return None
    return _start_time(int(pid)) != rest


def _start_time(pid: int) -> str | None:
    try:
        # the name, in brackets, may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
