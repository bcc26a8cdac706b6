"""Pause (suspend) and resume a job that has child jobs."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from api.orchestrator.connection import retry_while_unavailable

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_PAUSE_TIMEOUT: Final = timedelta(days=3650)


class JobSuspender(Protocol):
    """The interface through which the batch routes pause and resume jobs; tests use a fake."""

    async def pause(self, job_id: UUID) -> None:
        """Stop creating child jobs; child jobs that exist continue."""
        ...

    async def resume(self, job_id: UUID) -> None:
        """Continue a paused job."""
        ...


class PrefectJobSuspender:
    """Pause and resume by suspending flow runs on a Prefect server."""

    def __init__(self, connect: "Callable[[], Awaitable[PrefectClient]]") -> None:
        """
        Use a shared connection.

        Args:
            connect: returns the Prefect client, opening it on first use.
        """
        self._connect = connect

    async def pause(self, job_id: UUID) -> None:
        """Suspend a run: its worker process notices and exits; a scheduled run is not started."""
        from prefect.states import Suspended

        state = Suspended(pause_expiration_time=datetime.now(UTC) + _PAUSE_TIMEOUT)
        client = await self._connect()
        # forced, because Prefect's rules allow suspending only a run that has a process at the moment
        await retry_while_unavailable(partial(client.set_flow_run_state, job_id, state, force=True))

    async def resume(self, job_id: UUID) -> None:
        """Reschedule a suspended run."""
        from prefect.states import Scheduled

        client = await self._connect()
        state = Scheduled(name="Resuming", scheduled_time=datetime.now(UTC))
        await retry_while_unavailable(partial(client.set_flow_run_state, job_id, state, force=True))
