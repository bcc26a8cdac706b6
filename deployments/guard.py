"""
Find and terminate leftover processes of a stack by a marker in their environment.

All processes that a supervisor starts, and their descendants, inherit the environment variable
RENDER_STACK_ID. Run as a script with the marker as its argument, this module waits for end-of-file on its
standard input, which the supervisor holds open until it ends, even by SIGKILL. It then terminates all
processes that still carry the marker. It uses the standard library only, to start within a few milliseconds.
Markers are read from /proc, so on systems other than Linux no process is found.
"""

import os
import signal
import sys
import time
from pathlib import Path

MARKER_VARIABLE = "RENDER_STACK_ID"


def marked(marker: str) -> list[int]:
    """
    Return the ids of a stack's processes.

    Args:
        marker: value of their RENDER_STACK_ID.

    Returns:
        Process ids, without the caller and without zombies.
    """
    wanted = f"{MARKER_VARIABLE}={marker}".encode()
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if int(folder.name) != os.getpid() and _carries(folder, wanted)
    ]


def _carries(folder: Path, wanted: bytes) -> bool:
    try:
        return wanted in (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # the process has ended, or belongs to another user
        return False


def sweep(marker: str, grace_s: float) -> list[int]:
    """
    Terminate every process of a stack: first SIGTERM, then SIGKILL after a grace period.

    Args:
        marker:  value of their RENDER_STACK_ID.
        grace_s: seconds between the two signals.

    Returns:
        The process ids that received SIGTERM.
    """
    found = marked(marker)
    _signal(found, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while marked(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    while left := marked(marker):
        _signal(left, signal.SIGKILL)
        time.sleep(0.05)
    return found


def _signal(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sweep(sys.argv[1], grace_s=5.0)
