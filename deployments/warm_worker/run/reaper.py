"""
Reaper: requeues runs whose worker has ended. Every worker of a pool runs one.

A run is lost if its worker's process has ended, where that can be checked on this machine, or if this worker
has claimed it and does not execute it: an outage may end a claim half-way. Otherwise it is lost if the worker
has sent no heartbeat for `LOST_AFTER_S`. After an outage of the server no run is considered lost for
that long, because all heartbeats are old then.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from deployments.warm_worker.child.process_identity import has_process_ended
from deployments.warm_worker.ownership import owner_of
from deployments.warm_worker.queue.claim import this_worker
from deployments.warm_worker.queue.tenant_limits import release_lost_lease
from deployments.warm_worker.run_states import CLAIMED_STATE_TYPES, RunStateWriter
from flows.prefect_state.queries import due_since, read_by_key_async
from tasks.run.counters import LOST_RUNS, count

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

LOST_AFTER_S: Final = 45.0
POLL_INTERVAL_S: Final = 10.0
_ASSUMED_SERVER_UPTIME_S: Final = 15.0
"""Seconds for which the server is assumed to have been up when a worker starts."""


class Reaper:
    """Finds and requeues the lost runs of a work pool."""

    def __init__(
        self,
        client: "PrefectClient",
        pool: str,
        name: str,
        max_starts: int,
        is_own: "Callable[[FlowRun], bool]",
        log: Callable[[str], None],
    ) -> None:
        """
        Configure the reaper; `run_forever` starts it.

        Args:
            client:     client of the server.
            pool:       name of the work pool.
            name:       name of this worker; claimed runs of an earlier worker with the same name are lost.
            max_starts: maximum number of attempts of a run.
            is_own:     returns whether this worker is executing a run.
            log:        called with each log line.
        """
        self._client, self._pool, self._name = client, pool, name
        self._owner = this_worker(name)
        self._max_starts, self._is_own, self._log = max_starts, is_own, log
        self._state_writer = RunStateWriter(client)
        self._server_up_since = time.monotonic() - _ASSUMED_SERVER_UPTIME_S

    async def run_forever(self) -> None:
        """Requeue lost runs every POLL_INTERVAL_S, until cancelled."""
        while True:
            try:
                await self.requeue_lost_runs()
            except (httpx.HTTPError, OSError):
                self._server_up_since = time.monotonic()
            await asyncio.sleep(POLL_INTERVAL_S)

    async def requeue_lost_runs(self) -> list[UUID]:
        """
        Find lost runs once, and requeue, crash or cancel them.

        Returns:
            The ids of the lost runs.
        """
        claimed = await self._read_claimed_runs()
        foreign_runs = [run for run in claimed if not self._is_own(run)]
        if not foreign_runs:
            return []
        heartbeat_ages = await self._heartbeat_ages()
        lost = [run for run in foreign_runs if self._is_lost(run, heartbeat_ages)]
        for run in lost:
            await self._requeue_or_end(run)
        return [run.id for run in lost]

    async def _read_claimed_runs(self) -> "list[FlowRun]":
        """Read all runs of the pool that are Pending, Running or Cancelling."""
        run_filter = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(CLAIMED_STATE_TYPES)))
        )
        pool_filter = WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool]))

        async def read(due_after: datetime | None, limit: int, offset: int) -> "list[FlowRun]":
            return await self._client.read_flow_runs(
                flow_run_filter=due_since(run_filter, due_after),
                work_pool_filter=pool_filter,
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=limit,
                offset=offset,
            )

        return await read_by_key_async(lambda run: run.expected_start_time, read)

    async def _heartbeat_ages(self) -> dict[str, float]:
        """Return the seconds since the last heartbeat of each worker of the pool."""
        now = datetime.now(UTC)
        workers = await self._client.read_workers_for_work_pool(self._pool)
        return {
            worker.name: (now - worker.last_heartbeat_time).total_seconds()
            for worker in workers
            if worker.last_heartbeat_time
        }

    def _is_lost(self, run: "FlowRun", heartbeat_ages: dict[str, float]) -> bool:
        owner = owner_of(run)
        if owner == self._owner:
            return True
        has_ended = has_process_ended(owner.process)
        if has_ended is not None:
            return has_ended
        if owner.worker == self._name:
            return True
        heartbeat_age_s = heartbeat_ages.get(owner.worker, float("inf"))
        state_age_s = (datetime.now(UTC) - run.state.timestamp).total_seconds() if run.state else float("inf")
        server_uptime_s = time.monotonic() - self._server_up_since
        return min(heartbeat_age_s, state_age_s, server_uptime_s) > LOST_AFTER_S

    async def _requeue_or_end(self, run: "FlowRun") -> None:
        if run.state_type == StateType.CANCELLING:
            state = await self._state_writer.set_cancelled(
                run.id, "Cancelled on request after its worker had ended.", observed=run
            )
        else:
            state = await self._state_writer.requeue_or_crash(run, "its worker ended", self._max_starts)
        if state is not None:
            await release_lost_lease(self._client, run)
            count(LOST_RUNS, "reaper")
            self._log(f"run {run.id} had lost its worker: {state.name}. {state.message}")
