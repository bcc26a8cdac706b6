"""
Cooperative cancellation: a flag that stops the running job, which its long loops check between batches.

One job runs in a process at a time, so there is one flag. The worker process sets it and tasks check it.
"""

import threading

from musetalk_core.errors import RenderError

_asked = threading.Event()


class Stopped(RenderError):
    """The job was canceled. This is not a failure, and the job is not retried."""

    code = "canceled"


def ask_to_stop() -> None:
    """Cancel the running job; may be called from any thread."""
    _asked.set()


def start_anew() -> None:
    """Clear an earlier cancellation before another job starts."""
    _asked.clear()


def stop_if_asked() -> None:
    """
    Raise Cancelled if the job was canceled.

    Raises:
        Cancelled: the job was canceled.
    """
    if _asked.is_set():
        raise Stopped("the job was canceled")
