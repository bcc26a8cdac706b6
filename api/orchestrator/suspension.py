"""Pause (suspend) and resume a job that has child jobs."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from api.errors import Problem
from api.orchestrator.connection import PrefectConnection
from flows.prefect_state.status import FINAL_STATUSES, status_of

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_PAUSE_TIMEOUT: Final = timedelta(days=3650)
_MAX_TRIES: Final = 3
"""Maximum number of tries to pause a run whose state changes at the same time."""


class JobSuspender(Protocol):
    """The interface through which the batch routes pause and resume jobs; tests use a fake."""

    async def pause(self, job_id: UUID) -> None:
        """Stop creating child jobs; those that exist continue. Raises Problem `not_ready` if it has ended."""
        ...

    async def resume(self, job_id: UUID) -> None:
        """Continue a paused job; a job that is not paused is unchanged."""
        ...


class PrefectJobSuspender:
    """Pause and resume by suspending flow runs on a Prefect server."""

    def __init__(self, connection: PrefectConnection) -> None:
        """Use a shared connection."""
        self._connection = connection

    async def pause(self, job_id: UUID) -> None:
        """
        Suspend a run: its worker process notices and exits; a scheduled run is not started.

        Raises:
            Problem: `not_ready` if the run has ended or is being canceled; `not_found` if it was deleted.
        """
        from prefect.client.schemas.responses import SetStateStatus
        from prefect.states import Suspended

        for _ in range(_MAX_TRIES):
            run = await self._read_run(job_id)
            if run.state_type == "PAUSED":
                return
            if run.state_type == "CANCELLING" or status_of(run) in FINAL_STATUSES:
                raise Problem("not_ready", f"The job is {status_of(run)} and cannot be paused.")
            state = Suspended(pause_expiration_time=datetime.now(UTC) + _PAUSE_TIMEOUT)
            # A running run is suspended by Prefect's rules, which refuse if it has ended meanwhile. They also
            # refuse a queued run, which is therefore forced: it cannot end before a worker starts it.
            is_queued = run.state_type != "RUNNING"
            response = await self._connection.write(
                lambda client, state=state, force=is_queued: client.set_flow_run_state(
                    job_id, state, force=force
                )
            )
            if response.status == SetStateStatus.ACCEPT:
                return
        raise Problem("not_ready", "The state of the job keeps changing; try again.")

    async def resume(self, job_id: UUID) -> None:
        """Reschedule a suspended run; the server leaves a run that is not suspended unchanged."""
        await self._connection.write(lambda client: client.resume_flow_run(job_id))

    async def _read_run(self, job_id: UUID) -> "FlowRun":
        from prefect.exceptions import ObjectNotFound

        try:
            return await self._connection.read(lambda client: client.read_flow_run(job_id))
        except ObjectNotFound:
            raise Problem("not_found", "Job not found") from None
