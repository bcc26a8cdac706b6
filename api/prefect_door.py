"""The connection to the Prefect server: one client per process, opened on first use, and retries."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

from api.problems import Problem

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_PATIENCE_S = 20.0

T = TypeVar("T")


class Door:
    """A lazily opened Prefect client."""

    def __init__(self) -> None:
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._client: PrefectClient | None = None

    async def open(self) -> "PrefectClient":
        """
        Return the client, opening it on first use.

        Raises:
            Problem: `orchestrator_unavailable` if the server cannot be reached.
        """
        async with self._opening:
            if self._client is None:
                # the imports take half a second or more and would block the event loop
                client = await asyncio.to_thread(_new_client)
                try:
                    self._client = await self._stack.enter_async_context(client)
                except Exception as error:
                    raise _away() from error
            return self._client

    async def close(self) -> None:
        """Close the client."""
        await self._stack.aclose()


def _new_client() -> "PrefectClient":
    from prefect.client.orchestration import get_client

    return get_client(sync_client=False)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """
    Call the Prefect server and retry while it is busy (429, 502, 503) or unreachable.

    Retries for up to 20 seconds, with exponential backoff from 0.05 to 2 seconds and jitter.

    Args:
        call: sends the request; must be idempotent.

    Raises:
        Problem: `orchestrator_unavailable` after the time limit or on any other error status.
    """
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    deadline = time.monotonic() + _PATIENCE_S
    pause = 0.05
    while True:
        try:
            # the client's own retries wait two seconds or more; these start at 50 ms
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                return await call()
        except PrefectHTTPStatusError as error:
            busy = error.response.status_code in {429, 502, 503}
            if not busy or time.monotonic() > deadline:
                raise Problem(
                    "orchestrator_unavailable", "The Prefect server rejected the request."
                ) from error
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise _away() from error
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
        pause = min(pause * 2, 2.0)


def _away() -> Problem:
    return Problem("orchestrator_unavailable", "The Prefect server cannot be reached.")
