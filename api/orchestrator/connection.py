"""The connection to the Prefect server: one client per process, opened on first use, and retries."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, TypeVar

import httpx

from api.errors import Problem
from tasks.run.prefect_settings import settings_without_client_retries
from tasks.run.retry import retry_while_unavailable_async

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.context import SettingsContext

WRITE_LIMIT_S: Final = 20.0
"""Seconds for which a request that changes something is retried: longer than a restart of the server."""
READ_LIMIT_S: Final = 3.0
"""Seconds for which a read is retried; the client may repeat it."""
_FIRST_DELAY_S: Final = 0.05
_MAX_DELAY_S: Final = 2.0
_BUSY_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of requests that are retried; 500 is the response of a server whose Redis does not answer."""

T = TypeVar("T")


class PrefectConnection:
    """A lazily opened Prefect client. Every request of the API goes through `read` or `write`."""

    def __init__(self) -> None:
        """Create a connection; opens nothing."""
        self._open_lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._client: PrefectClient | None = None
        self._settings: SettingsContext | None = None

    async def read(self, call: "Callable[[PrefectClient], Awaitable[T]]") -> T:
        """
        Send a request that changes nothing; see `write`. Retries end after READ_LIMIT_S.

        Args:
            call: sends the request with the client that it is given.
        """
        return await self._request(call, READ_LIMIT_S)

    async def write(self, call: "Callable[[PrefectClient], Awaitable[T]]") -> T:
        """
        Send a request, and retry it while the server is busy or unreachable, for up to WRITE_LIMIT_S.

        Args:
            call: sends the request with the client that it is given; must be safe to repeat.

        Raises:
            Problem: `orchestrator_unavailable` after the time limit, or for any other error status.
            Exception: any exception of the client that is not one of httpx, such as ObjectNotFound.
        """
        return await self._request(call, WRITE_LIMIT_S)

    async def _request(self, call: "Callable[[PrefectClient], Awaitable[T]]", limit_s: float) -> T:
        try:
            client, settings = await self._open()

            async def attempt() -> T:
                with settings.model_copy():  # a context can be entered once only; copying it is cheap
                    return await call(client)

            return await retry_while_unavailable_async(
                attempt,
                limit_s,
                retry_on=_is_busy_or_unreachable,
                first_delay_s=_FIRST_DELAY_S,
                max_delay_s=_MAX_DELAY_S,
            )
        except httpx.HTTPError as error:
            raise problem_of(error) from error

    async def _open(self) -> "tuple[PrefectClient, SettingsContext]":
        async with self._open_lock:
            if self._client is None or self._settings is None:
                # the imports take half a second or more and would block the event loop
                client, self._settings = await asyncio.to_thread(_new_client)
                try:
                    self._client = await self._stack.enter_async_context(client)
                except Exception as error:
                    raise Problem(
                        "orchestrator_unavailable", "The Prefect server cannot be reached."
                    ) from error
            return self._client, self._settings

    async def aclose(self) -> None:
        """Close the client."""
        await self._stack.aclose()


def _new_client() -> "tuple[PrefectClient, SettingsContext]":
    """Return a client, and the settings for its requests: without its own retries, which wait 2 s or more."""
    from prefect.client.orchestration import get_client

    return get_client(sync_client=False), settings_without_client_retries()


def _is_busy_or_unreachable(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _BUSY_STATUSES
    return isinstance(error, httpx.TransportError)


def problem_of(error: httpx.HTTPError) -> Problem:
    """Return the problem for a failed request to the Prefect server."""
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in _BUSY_STATUSES:
        return Problem("orchestrator_unavailable", "The Prefect server rejected the request.")
    return Problem("orchestrator_unavailable", "The Prefect server cannot be reached.")
