"""The connection to the Prefect server: one client per process, opened on first use, and retries."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

import httpx

from api.errors import Problem
from flows.prefect_state.retry import retry_while_unavailable_async

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_RETRY_LIMIT_S = 20.0

T = TypeVar("T")


class PrefectConnection:
    """A lazily opened Prefect client."""

    def __init__(self) -> None:
        self._open_lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._client: PrefectClient | None = None

    async def open(self) -> "PrefectClient":
        """
        Return the client, opening it on first use.

        Raises:
            Problem: `orchestrator_unavailable` if the server cannot be reached.
        """
        async with self._open_lock:
            if self._client is None:
                # the imports take half a second or more and would block the event loop
                client = await asyncio.to_thread(_new_client)
                try:
                    self._client = await self._stack.enter_async_context(client)
                except Exception as error:
                    raise _unreachable_problem() from error
            return self._client

    async def close(self) -> None:
        """Close the client."""
        await self._stack.aclose()


def _new_client() -> "PrefectClient":
    from prefect.client.orchestration import get_client

    return get_client(sync_client=False)


async def retry_while_unavailable(call: Callable[[], Awaitable[T]]) -> T:
    """
    Call the Prefect server and retry while it is busy (429, 502, 503) or unreachable.

    Retries for up to 20 seconds, with exponential backoff from 0.05 to 2 seconds and jitter.

    Args:
        call: sends the request; must be idempotent.

    Raises:
        Problem: `orchestrator_unavailable` after the time limit or on any other error status.
    """
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    async def attempt() -> T:
        # the client's own retries wait two seconds or more; these start at 50 ms
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            return await call()

    try:
        return await retry_while_unavailable_async(
            attempt, _RETRY_LIMIT_S, retry_on=_is_busy_or_unreachable, first_delay_s=0.05, max_delay_s=2.0
        )
    except httpx.HTTPStatusError as error:
        raise Problem("orchestrator_unavailable", "The Prefect server rejected the request.") from error
    except httpx.TransportError as error:
        raise _unreachable_problem() from error


def _is_busy_or_unreachable(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in {429, 502, 503}
    return isinstance(error, httpx.TransportError)


def _unreachable_problem() -> Problem:
    return Problem("orchestrator_unavailable", "The Prefect server cannot be reached.")
