"""Retries of requests to the Prefect server during an outage, so that a waiting parent run survives it."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from tasks.run.cancellation import raise_if_cancelled

T = TypeVar("T")

RETRY_LIMIT_S: Final = 900.0
"""Default time limit for retries in seconds."""
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500


def retry_while_unavailable(call: Callable[[], T], limit_s: float = RETRY_LIMIT_S) -> T:
    """
    Call a function, and repeat it with exponential backoff while the Prefect server is unavailable.

    Args:
        call:    makes the request; must be safe to repeat.
        limit_s: time limit in seconds.

    Raises:
        Stopped: the run was asked to stop.
        Any error of the call, if it is not caused by an outage or the time limit has passed.
    """
    deadline, delay_s = time.monotonic() + limit_s, 0.3
    while True:
        try:
            return call()
        except (httpx.HTTPError, PrefectHTTPStatusError, OSError) as error:
            if not _is_outage(error) or time.monotonic() > deadline:
                raise
        raise_if_cancelled()
        time.sleep(delay_s * random.uniform(0.7, 1.3))  # noqa: S311  jitter
        delay_s = min(delay_s * 2, 5.0)


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_ERROR or error.response.status_code == _TOO_MANY_REQUESTS
    return isinstance(error, httpx.TransportError | OSError)
