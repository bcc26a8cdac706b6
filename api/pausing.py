"""Pausing a job that makes others, and letting it go on."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from api.prefect_door import patiently

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_FOR_EVER: Final = timedelta(days=3650)


class Pausing(Protocol):
    """What the routes of batches need; tests hand in a fake."""

    async def pause(self, job_id: UUID) -> None:
        """Begin nothing more for a job; what it has begun goes on."""
        ...

    async def resume(self, job_id: UUID) -> None:
        """Let a paused job go on."""
        ...


class PrefectPausing:
    """`Pausing` on a Prefect server."""

    def __init__(self, connect: "Callable[[], Awaitable[PrefectClient]]") -> None:
        """
        Connect to nothing yet.

        Args:
            connect: gives the connection.
        """
        self._connect = connect

    async def pause(self, job_id: UUID) -> None:
        """Suspend a run: the worker's process sees it and leaves, a sleeping one is not woken."""
        from prefect.states import Suspended

        state = Suspended(pause_expiration_time=datetime.now(UTC) + _FOR_EVER)
        client = await self._connect()
        # by force: by its own rules Prefect suspends only what has a process at the moment
        await patiently(partial(client.set_flow_run_state, job_id, state, force=True))

    async def resume(self, job_id: UUID) -> None:
        """Queue a suspended run again."""
        from prefect.states import Scheduled

        client = await self._connect()
        state = Scheduled(name="Resuming", scheduled_time=datetime.now(UTC))
        await patiently(partial(client.set_flow_run_state, job_id, state, force=True))
