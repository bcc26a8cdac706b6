"""Retries of requests to the Prefect server during an outage, so that a waiting parent run survives it."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from tasks.stopping import stop_if_asked

T = TypeVar("T")

LIMIT_S: Final = 900.0
"""Default time limit for retries in seconds."""
_BUSY: Final = 429
_OWN_FAULT: Final = 500


def patiently(call: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """
    Call a function, and repeat it with exponential backoff while the Prefect server is unavailable.

    Args:
        call:    makes the request; must be safe to repeat.
        limit_s: time limit in seconds.

    Raises:
        Stopped: the run was asked to stop.
        Any error of the call, if it is not caused by an outage or the time limit has passed.
    """
    deadline, pause = time.monotonic() + limit_s, 0.3
    while True:
        try:
            return call()
        except (httpx.HTTPError, PrefectHTTPStatusError, OSError) as error:
            if not _is_outage(error) or time.monotonic() > deadline:
                raise
        stop_if_asked()
        time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311  jitter
        pause = min(pause * 2, 5.0)


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _OWN_FAULT or error.response.status_code == _BUSY
    return isinstance(error, httpx.TransportError | OSError)
