"""Asking the server again while it is away: who waits for others must outlive it."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from tasks.stopping import stop_if_asked

T = TypeVar("T")

LIMIT_S: Final = 900.0
_BUSY: Final = 429
_OWN_FAULT: Final = 500


def patiently(call: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """
    Do something on the server, however long it is away.

    Args:
        call:    makes the request; must be harmless to repeat.
        limit_s: when to give up, in seconds.

    Raises:
        Stopped: the run is to end.
        Whatever the call raises, when it is no outage or the limit has passed.
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
