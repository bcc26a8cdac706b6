"""
Leave no process of a stack behind.

Every process that a supervisor starts, and all their descendants, inherit one marked environment variable.
Run as a script with a marker as its argument, this waits for its standard input to close, which happens when
the supervisor ends in whatever way, even by SIGKILL, and then ends what still carries the marker. Standard
library only: it starts in a few milliseconds. The marks are read from /proc; elsewhere than on Linux nothing
is found.
"""

import os
import signal
import sys
import time
from pathlib import Path

MARKER_VARIABLE = "RENDER_STACK_ID"


def marked(marker: str) -> list[int]:
    """
    Find the processes of a stack.

    Args:
        marker: the value their marker variable carries.

    Returns:
        Process ids, without the caller's own and without zombies.
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
    except OSError:  # ended meanwhile, or another user's
        return False


def sweep(marker: str, grace_s: float) -> list[int]:
    """
    End every process of a stack: SIGTERM first, SIGKILL to what is left after a while.

    Args:
        marker:  the value their marker variable carries.
        grace_s: seconds between the two signals.

    Returns:
        Process ids that were found.
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
