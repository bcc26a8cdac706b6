"""Retries of requests to the Prefect server while it is unavailable."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import httpx
from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from tasks.run.cancellation import raise_if_cancelled

T = TypeVar("T")

RETRY_LIMIT_S: Final = 900.0
"""Default time in seconds for which a request is retried: longer than a restart of the server."""
_MAX_DELAY_S: Final = 5.0
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500


def is_outage(error: BaseException) -> bool:
    """Return whether an error says that the server is unreachable or overloaded, and not that it refused."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_ERROR or error.response.status_code == _TOO_MANY_REQUESTS
    return isinstance(error, httpx.TransportError | OSError)


def retry_while_unavailable(call: Callable[[], T], limit_s: float = RETRY_LIMIT_S) -> T:
    """
    Make a request, and repeat it while the server is unavailable.

    Args:
        call:    makes the request; must be safe to repeat.
        limit_s: seconds after which the last error is raised.

    Raises:
        Cancelled: the run was cancelled while the request was retried.
        Exception: any other error of the call, at once.
    """
    return Retrying(sleep=_cancellable_sleep, **_policy(limit_s, is_outage, 0.3, _MAX_DELAY_S))(call)


async def retry_while_unavailable_async(
    call: Callable[[], Awaitable[T]],
    limit_s: float = RETRY_LIMIT_S,
    *,
    retry_on: Callable[[BaseException], bool] = is_outage,
    first_delay_s: float = 0.2,
    max_delay_s: float = _MAX_DELAY_S,
) -> T:
    """
    Make a request, and repeat it while the server is unavailable.

    Args:
        call:          makes the request; must be safe to repeat.
        limit_s:       seconds after which the last error is raised.
        retry_on:      which errors are retried; others are raised at once.
        first_delay_s: pause before the first retry; it doubles with each retry.
        max_delay_s:   longest pause.
    """

    async def request() -> T:  # a coroutine function: tenacity awaits the result of no other callable
        return await call()

    return await AsyncRetrying(sleep=asyncio.sleep, **_policy(limit_s, retry_on, first_delay_s, max_delay_s))(
        request
    )


def _policy(
    limit_s: float, retry_on: Callable[[BaseException], bool], first_delay_s: float, max_delay_s: float
) -> dict[str, Any]:
    return {
        "stop": stop_after_delay(limit_s),
        "wait": wait_exponential_jitter(initial=first_delay_s, max=max_delay_s, jitter=first_delay_s),
        "retry": retry_if_exception(retry_on),
        "reraise": True,
    }


def _cancellable_sleep(seconds: float) -> None:
    raise_if_cancelled()
    time.sleep(seconds)
