"""
Cooperative cancellation: a flag that stops the running job, which its long loops check between batches.

One job runs in a process at a time, so there is one flag. The worker process sets it and tasks check it.
"""

import threading

from musetalk_core.errors import RenderError

_requested = threading.Event()


class Cancelled(RenderError):
    """The job was canceled. This is not a failure, and the job is not retried."""

    code = "canceled"


def request_cancellation() -> None:
    """Cancel the running job; may be called from any thread."""
    _requested.set()


def reset_cancellation() -> None:
    """Clear an earlier cancellation before another job starts."""
    _requested.clear()


def raise_if_cancelled() -> None:
    """
    Raise Cancelled if the job was canceled.

    Raises:
        Cancelled: the job was canceled.
    """
    if _requested.is_set():
        raise Cancelled("the job was canceled")
