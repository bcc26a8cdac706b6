"""
Workers of all work pools, with the state of their processes.

The list is Prefect's. State, memory and models come from the event that a warm worker emits with each
heartbeat; workers of other types have none.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from api.orchestrator.connection import PrefectConnection
from flows.registry import FLOWS

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

CHILDREN_EVENT: Final = "musetalk.worker.children"
"""Name of the event; see `deployments.warm_worker.worker`."""
_EVENT_AGE: Final = timedelta(minutes=3)
"""Age of events that are read; a worker sends one every 30 s, or as Prefect's settings say."""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process of a warm worker."""

    number: int
    gpu: str
    state: str
    job: UUID | None
    models: tuple[str, ...]
    rss_bytes: int
    device_bytes: int
    runs: int
    restarts: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """
    A worker.

    Attributes:
        name:         name of the worker.
        pool:         its work pool.
        online:       whether its heartbeats arrive.
        heartbeat_at: time of its last heartbeat.
        reported_at:  time of the report about its processes; None without one.
        processes:    its processes, by number.
    """

    name: str
    pool: str
    online: bool
    heartbeat_at: datetime | None
    reported_at: datetime | None = None
    processes: tuple[WorkerProcess, ...] = field(default=())


class WorkerStore(Protocol):
    """The interface through which the route reads workers; tests use a fake."""

    async def list_workers(self) -> list[WorkerState]:
        """Return the workers of all work pools, ordered by pool and name."""
        ...


class PrefectWorkerStore:
    """Workers on a Prefect server."""

    def __init__(self, connection: PrefectConnection) -> None:
        """Use a shared connection."""
        self._connection = connection

    async def list_workers(self) -> list[WorkerState]:
        """Return the workers of all work pools; see `WorkerStore`."""
        pools = sorted({job_type.pool for job_type in FLOWS.values()})
        return [worker for pool in pools for worker in await self.list_pool(pool)]

    async def list_pool(self, pool: str) -> list[WorkerState]:
        """Return the workers of one work pool, ordered by name."""
        workers = await self._read_pool(pool)
        return list(await asyncio.gather(*map(self._with_newest_report, workers)))

    async def _read_pool(self, pool: str) -> list[WorkerState]:
        from prefect.exceptions import ObjectNotFound

        try:
            workers = await self._connection.read(lambda client: client.read_workers_for_work_pool(pool))
        except ObjectNotFound:
            return []
        states = [
            WorkerState(worker.name, pool, worker.status == "ONLINE", worker.last_heartbeat_time)
            for worker in workers
        ]
        return sorted(states, key=lambda state: state.name)

    async def _with_newest_report(self, worker: WorkerState) -> WorkerState:
        if not worker.online:
            return worker
        since = datetime.now(UTC) - _EVENT_AGE
        wanted = {
            "filter": {
                "event": {"name": [CHILDREN_EVENT]},
                "resource": {"labels": {"prefect.resource.name": [worker.name]}},
                "occurred": {"since": since.isoformat()},
                "order": "DESC",
            },
            "limit": 1,
        }

        async def ask(client: "PrefectClient") -> Any:
            request: Any = client.request  # its type lists the routes that it knows
            response = await request("POST", "/events/filter", json=wanted)
            return response.raise_for_status().json()["events"]

        events: Sequence[Mapping[str, Any]] = await self._connection.read(ask)
        return with_report(worker, events[0]) if events else worker


def with_report(worker: WorkerState, event: Mapping[str, Any]) -> WorkerState:
    """
    Return a worker with the state of its processes.

    Args:
        worker: the worker.
        event:  its newest event.
    """
    children: Sequence[Mapping[str, Any]] = event["payload"]["children"]
    processes = [
        WorkerProcess(
            number=int(child["child"]),
            gpu=str(child["gpu"]),
            state=str(child["state"]),
            job=UUID(str(child["flow_run"])) if child["flow_run"] else None,
            models=tuple(str(model) for model in child["models"]),
            rss_bytes=int(child["rss_bytes"]),
            device_bytes=int(child["device_bytes"]),
            runs=int(child["runs"]),
            restarts=int(child["restarts"]),
        )
        for child in children
    ]
    reported_at = datetime.fromisoformat(str(event["occurred"]))
    return WorkerState(
        worker.name, worker.pool, worker.online, worker.heartbeat_at, reported_at, tuple(processes)
    )
