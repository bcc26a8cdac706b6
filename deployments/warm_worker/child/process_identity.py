"""Unique process identity across restarts, from the machine's boot id, the process id and its start time."""

import os
import platform
import socket
from functools import lru_cache
from pathlib import Path
from typing import Final

_HOST_NAMESPACES: Final = {"uts": 4026531838, "pid": 4026531836}
"""Inodes of the namespaces in which Linux itself starts: constants of the kernel."""


def process_token(pid: int) -> str | None:
    """
    Return the token `boot-id/namespace/pid/start-time` of a running process; None if there is none.

    Two containers on one machine have different process namespaces and therefore different tokens.
    """
    start = _process_start_time(pid)
    return None if start is None else f"{machine_id()}/{pid}/{start}"


@lru_cache
def machine_id() -> str:
    """Return the boot id of this machine and the id of this process namespace; else the host name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116  a link of the kernel's
    except OSError:
        return socket.gethostname()


def worker_name(pool: str) -> str:
    """
    Return a name for a worker of this process that no other running worker has.

    It has the process id, since the program of the worker replaces this process. Containers that share the
    host name of their machine (host networking) often have the same process id, 1: there the id of the
    process namespace is added. Otherwise a container that is restarted under its host name keeps its name, so
    that it finds its lost runs at once.

    Args:
        pool: work pool of the worker.
    """
    name = f"{pool}-{platform.node()}-{os.getpid()}"
    try:
        inodes = {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in _HOST_NAMESPACES}  # noqa: PTH116
    except OSError:
        return name
    shares_host_name = inodes["uts"] == _HOST_NAMESPACES["uts"] and inodes["pid"] != _HOST_NAMESPACES["pid"]
    return f"{name}-{inodes['pid']}" if shares_host_name else name


def has_process_ended(token: str) -> bool | None:
    """
    Return whether a process has ended.

    Args:
        token: token from `process_token`.

    Returns:
        None if the process belongs to another machine, container or boot, so that its state is unknown.
    """
    machine_part, _, start_time = token.rpartition("/")
    machine_part, _, pid = machine_part.rpartition("/")
    if machine_part != machine_id() or not pid.isdigit():
        return None
    return _process_start_time(int(pid)) != start_time


def _process_start_time(pid: int) -> str | None:
    try:
        # split after the process name in parentheses, which may contain spaces
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
