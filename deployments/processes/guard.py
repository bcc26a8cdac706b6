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


def find_marked_processes(marker: str) -> list[int]:
    """
    Return the ids of a stack's processes.

    Args:
        marker: value of their RENDER_STACK_ID.

    Returns:
        Process ids, without the caller and without zombies.
    """
    entry = f"{MARKER_VARIABLE}={marker}".encode()
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if int(folder.name) != os.getpid() and _has_marker(folder, entry)
    ]


def _has_marker(folder: Path, entry: bytes) -> bool:
    try:
        return entry in (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # the process has ended, or belongs to another user
        return False


def terminate_marked_processes(marker: str, grace_s: float) -> list[int]:
    """
    Terminate every process of a stack: first SIGTERM, then SIGKILL after a grace period.

    Args:
        marker:  value of their RENDER_STACK_ID.
        grace_s: seconds between the two signals.

    Returns:
        The process ids that received SIGTERM.
    """
    process_ids = find_marked_processes(marker)
    _send_signal(process_ids, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while find_marked_processes(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    while remaining := find_marked_processes(marker):
        _send_signal(remaining, signal.SIGKILL)
        time.sleep(0.05)
    return process_ids


def _send_signal(process_ids: list[int], number: signal.Signals) -> None:
    for process_id in process_ids:
        try:
            os.kill(process_id, number)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    terminate_marked_processes(sys.argv[1], grace_s=5.0)
