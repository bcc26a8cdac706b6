"""
A running job is asked to stop here, and its long loops look here between two batches.

One job runs in a process at a time, so there is one flag. Whoever runs the job sets it; the tasks only look.
"""

import threading

from musetalk_core.errors import RenderError

_asked = threading.Event()


class Stopped(RenderError):
    """The job was asked to stop: nothing is wrong, and nothing is tried again."""

    code = "canceled"


def ask_to_stop() -> None:
    """Make the job's loops end; from any thread."""
    _asked.set()


def start_anew() -> None:
    """Forget an earlier request, before another job begins."""
    _asked.clear()


def stop_if_asked() -> None:
    """
    End the caller's work when the job is to stop.

    Raises:
        Stopped: it is.
    """
    if _asked.is_set():
        raise Stopped("the job was asked to stop")
