"""Unique process identity across restarts, from the machine's boot id, the process id and its start time."""

import os
import socket
from functools import lru_cache
from pathlib import Path


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
