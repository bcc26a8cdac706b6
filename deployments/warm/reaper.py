"""
Reaper: requeues runs whose worker has ended. Every worker of a pool runs one.

A run is lost if its worker's process has ended, where that can be checked on this machine; otherwise if the
worker has sent no heartbeat for `LOST_AFTER_S`. After an outage of the server no run is considered lost for
that long, because all heartbeats are old then.
"""

import asyncio
import time
from collections.abc import Callable, Container
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

from deployments.warm.claiming import PROCESS, WORKER_NAME
from deployments.warm.identity import is_gone
from deployments.warm.settle import Settler

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

LOST_AFTER_S: Final = 45.0
LOOK_EVERY_S: Final = 10.0
_TRUSTED_S: Final = 15.0
"""Seconds for which the server is assumed to have been up when a worker starts."""

_PAGE: Final = 200
_CLAIMED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


class Reaper:
    """Finds and requeues the lost runs of a work pool."""

    def __init__(
        self,
        client: "PrefectClient",
        pool: str,
        name: str,
        max_starts: int,
        mine: Callable[[], Container[UUID]],
        say: Callable[[str], None],
    ) -> None:
        """
        Configure the reaper; `run_forever` starts it.

        Args:
            client:     client of the server.
            pool:       name of the work pool.
            name:       name of this worker; claimed runs of an earlier worker with the same name are lost.
            max_starts: maximum number of attempts of a run.
            own_runs:   returns the ids of the runs that this worker is executing.
            log:        called with each log line.
        """
        self._client, self._pool, self._name = client, pool, name
        self._max_starts, self._mine, self._say = max_starts, mine, say
        self._settler = Settler(client)
        self._server_since = time.monotonic() - _TRUSTED_S

    async def watch(self) -> None:
        """Requeue lost runs every POLL_INTERVAL_S, until cancelled."""
        while True:
            try:
                await self.look()
            except (httpx.HTTPError, OSError):
                self._server_since = time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> list[UUID]:
        """
        Find lost runs once, and requeue, crash or cancel them.

        Returns:
            The ids of the lost runs.
        """
        claimed = await self._claimed()
        strangers = [run for run in claimed if run.id not in self._mine()]
        if not strangers:
            return []
        seen = await self._seen()
        lost = [run for run in strangers if self._is_lost(run, seen)]
        for run in lost:
            await self._settle(run)
        return [run.id for run in lost]

    async def _claimed(self) -> "list[FlowRun]":
        """Read all runs of the pool that are Pending, Running or Cancelling."""
        found: dict[UUID, FlowRun] = {}
        offset = 0
        while True:
            page = await self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_CLAIMED)),
                ),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool])),
                sort=FlowRunSort.ID_DESC,
                limit=_PAGE,
                offset=offset,
            )
            found |= {run.id: run for run in page}
            if len(page) < _PAGE:
                return list(found.values())
            offset += _PAGE

    async def _seen(self) -> dict[str, float]:
        """Return the seconds since the last heartbeat of each worker of the pool."""
        now = datetime.now(UTC)
        workers = await self._client.read_workers_for_work_pool(self._pool)
        return {
            worker.name: (now - worker.last_heartbeat_time).total_seconds()
            for worker in workers
            if worker.last_heartbeat_time
        }

    def _is_lost(self, run: "FlowRun", seen: dict[str, float]) -> bool:
        gone = is_gone(str(run.labels.get(PROCESS, "")))
        if gone is not None:
            return gone
        owner = str(run.labels.get(WORKER_NAME, ""))
        if owner == self._name:
            return True
        silent = seen.get(owner, float("inf"))
        in_state = (datetime.now(UTC) - run.state.timestamp).total_seconds() if run.state else float("inf")
        server_up = time.monotonic() - self._server_since
        # a run that was just claimed may not have its worker's label yet
        return min(silent, in_state, server_up) > LOST_AFTER_S

    async def _settle(self, run: "FlowRun") -> None:
        if run.state_type == StateType.CANCELLING:
            state = await self._settler.cancelled(run.id, "Cancelled on request after its worker had ended.")
        else:
            state = await self._settler.lost(run, "its worker ended", self._max_starts)
        if state is not None:
            self._say(f"run {run.id} had lost its worker: {state.name}. {state.message}")
