"""The connection to the Prefect server: one client per process, made at its first use."""

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
    """Opens the client when somebody asks for it."""

    def __init__(self) -> None:
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._client: PrefectClient | None = None

    async def open(self) -> "PrefectClient":
        """
        Give the client.

        Raises:
            Problem: `orchestrator_unavailable`.
        """
        async with self._opening:
            if self._client is None:
                # half a second and more of imports: not in the event loop
                client = await asyncio.to_thread(_new_client)
                try:
                    self._client = await self._stack.enter_async_context(client)
                except Exception as error:
                    raise _away() from error
            return self._client

    async def close(self) -> None:
        """Give the connection back."""
        await self._stack.aclose()


def _new_client() -> "PrefectClient":
    from prefect.client.orchestration import get_client

    return get_client(sync_client=False)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """
    Ask a server that may be busy or away for a moment, several times.

    Args:
        call: makes the request; must be harmless to repeat.

    Raises:
        Problem: `orchestrator_unavailable`.
    """
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    deadline = time.monotonic() + _PATIENCE_S
    pause = 0.05
    while True:
        try:
            # its own retries sleep two seconds and more; ours are short
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                return await call()
        except PrefectHTTPStatusError as error:
            busy = error.response.status_code in {429, 502, 503}
            if not busy or time.monotonic() > deadline:
                raise Problem(
                    "orchestrator_unavailable", "The Prefect server did not take the job."
                ) from error
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise _away() from error
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
        pause = min(pause * 2, 2.0)


def _away() -> Problem:
    return Problem("orchestrator_unavailable", "The Prefect server does not answer.")
