"""Retries of requests to the Prefect server and to the system's own store while they are unavailable."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import httpx
from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from musetalk_core.errors import RenderError
from tasks.run.cancellation import raise_if_cancelled

T = TypeVar("T")

RETRY_LIMIT_S: Final = 900.0
"""Default time in seconds for which a request is retried: longer than a restart of the server."""
STORE_RETRY_LIMIT_S: Final = 30.0
"""Time in seconds for which a request to the store is retried: about as long as a task retries."""
_MAX_DELAY_S: Final = 5.0
_CANCELLATION_CHECK_S: Final = 0.5
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500


class Retry(Protocol):
    """A policy of retries: makes a request that is safe to repeat, and repeats it if it fails."""

    def __call__(self, call: Callable[[], T], /) -> T:
        """Return what the request returns; raise its last error."""
        ...


def is_outage(error: BaseException) -> bool:
    """Return whether an error says that the server is unreachable or overloaded, and not that it refused."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_ERROR or error.response.status_code == _TOO_MANY_REQUESTS
    return isinstance(error, httpx.TransportError | OSError)


def is_transient_error(error: BaseException) -> bool:
    """Return whether an error is worth a retry: an OSError, or a RenderError that is marked as retryable."""
    return error.retryable if isinstance(error, RenderError) else isinstance(error, OSError)


def retry_while_unavailable(call: Callable[[], T], limit_s: float = RETRY_LIMIT_S) -> T:
    """
    Make a request to the Prefect server, and repeat it while the server is unavailable.

    Args:
        call:    makes the request; must be safe to repeat.
        limit_s: seconds after which the last error is raised.

    Raises:
        Cancelled: the job was canceled while the request was retried.
        Exception: any other error of the call, at once.
    """
    return _retry(call, limit_s, is_outage, 0.3)


def call_once(call: Callable[[], T], /) -> T:
    """Make a request without retries: the policy of the API, whose clients repeat requests themselves."""
    return call()


def retry_transient(call: Callable[[], T], /, limit_s: float = STORE_RETRY_LIMIT_S) -> T:
    """
    Make a request to the store, and repeat it while its error is transient.

    For code of a job that is not part of a task: Prefect retries tasks, but not the code between them.

    Args:
        call:    makes the request; must be safe to repeat.
        limit_s: seconds after which the last error is raised.

    Raises:
        Cancelled: the job was canceled while the request was retried.
        Exception: any other error of the call, at once.
    """
    return _retry(call, limit_s, is_transient_error, 0.5)


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


def _retry(
    call: Callable[[], T], limit_s: float, retry_on: Callable[[BaseException], bool], first_delay_s: float
) -> T:
    policy = _policy(limit_s, retry_on, first_delay_s, _MAX_DELAY_S)
    return Retrying(sleep=_cancellable_sleep, **policy)(call)


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
    """Sleep, but raise Cancelled soon after the job is canceled."""
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        raise_if_cancelled()
        time.sleep(min(remaining, _CANCELLATION_CHECK_S))
