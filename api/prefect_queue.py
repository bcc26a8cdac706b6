"""Queue positions and ETAs from Prefect: cached snapshots of each work pool's queue and of run times."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from uuid import UUID

from api import forecast
from api.forecast import Took
from api.prefect_door import Door
from api.runs import Outlook, Run
from flows.control import PRIORITIES, Control, read_control
from flows.registry import JOB_TYPES, JobType

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_QUEUE_STALE_S: Final = 1.0
_HISTORY_STALE_S: Final = 30.0
_PAGE: Final = 200
_PAGES: Final = 5
"""Only the first thousand runs of a longer queue get a position."""

T = TypeVar("T")


class Lately(Generic[T]):
    """A value that is loaded again when it is older than its time to live; one load at a time."""

    def __init__(self, ask: Callable[[], Awaitable[T]], stale_s: float) -> None:
        self._ask, self._stale_s = ask, stale_s
        self._answer: tuple[float, T] | None = None
        self._asking = asyncio.Lock()

    async def get(self) -> T:
        """Return the value, loading it if it is missing or expired."""
        async with self._asking:
            if self._answer is None or time.monotonic() - self._answer[0] > self._stale_s:
                self._answer = (time.monotonic(), await self._ask())
            return self._answer[1]


@dataclass(frozen=True, slots=True)
class Queue:
    """A snapshot of the queue of one work pool."""

    order: tuple[tuple[UUID, str], ...] = ()
    """Ids and job types of queued jobs, next one first."""
    ranks: tuple[int, ...] = ()
    """Priority rank of each queued job; 0 is the highest."""
    running: tuple[str, ...] = ()
    """Job types of running jobs."""
    places: Mapping[UUID, int] = field(default_factory=dict[UUID, int])
    """Queue position by job id, starting at 1."""


class Forecasts:
    """Estimates queue position and ETA of jobs."""

    def __init__(self, door: Door, types: Callable[["FlowRun"], Awaitable[str | None]]) -> None:
        """
        Create an estimator; sends no request.

        Args:
            connection: connection to Prefect.
            type_of:    returns the job type of a flow run, None if it is not a job.
        """
        self._door, self._types = door, types
        pools = {job_type.pool for job_type in JOB_TYPES.values()}
        self._queues = {pool: Lately(lambda pool=pool: self._queue(pool), _QUEUE_STALE_S) for pool in pools}
        self._history = {
            name: Lately(lambda name=name: self._finished(name), _HISTORY_STALE_S) for name in JOB_TYPES
        }

    async def add(self, run: Run) -> Run:
        """Return a copy of a job with its queue position and ETA."""
        if run.status == "queued":
            queue = await self._queues[JOB_TYPES[run.type].pool].get()
            place = queue.places.get(run.id)
            if place is None:
                return run
            before = [*queue.running, *(kind for _, kind in queue.order[: place - 1])]
            kinds = {kind: await self._history[kind].get() for kind in {*before, run.type}}
            ahead = [kinds[kind] for kind in before]
            eta = forecast.of_waiting(kinds[run.type], ahead, len(queue.running))
            return replace(run, position=place, eta=eta)
        if run.status == "running" and run.started is not None:
            elapsed = (datetime.now(UTC) - run.started).total_seconds()
            known = await self._history[run.type].get()
            return replace(run, eta=forecast.of_running(known, elapsed, run.progress.percent))
        return run

    async def outlook(self, job_type: JobType, control: Control) -> Outlook:
        """Estimate queue position and ETA of a job submitted now."""
        queue = await self._queues[job_type.pool].get()
        rank = PRIORITIES.index(control.priority)
        waiting = [kind for (_, kind), its in zip(queue.order, queue.ranks, strict=True) if its <= rank]
        before = [*queue.running, *waiting]
        kinds = {kind: await self._history[kind].get() for kind in {*before, job_type.name}}
        own = kinds[job_type.name]
        eta = forecast.of_waiting(own, [kinds[kind] for kind in before], len(queue.running))
        return Outlook(len(waiting), own, eta)

    async def _queue(self, pool: str) -> Queue:
        from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

        where = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        waiting: list[FlowRun] = []
        for number in range(_PAGES):
            page = await self._runs(where, ["SCHEDULED", "PENDING"], number)
            waiting += page
            if len(page) < _PAGE:
                break
        now = datetime.now(UTC)
        due = [run for run in waiting if run.next_scheduled_start_time is None or _due(run) <= now]
        due.sort(key=lambda run: (_rank(run), _due(run)))
        ours = [(run, kind) for run in due if (kind := await self._types(run))]
        order = [(run.id, kind) for run, kind in ours]
        running = [await self._types(run) for run in await self._runs(where, ["RUNNING", "CANCELLING"], 0)]
        places = {run_id: place for place, (run_id, _) in enumerate(order, start=1)}
        ranks = tuple(_rank(run) for run, _ in ours)
        return Queue(tuple(order), ranks, tuple(filter(None, running)), places)

    async def _runs(self, where: object, kinds: list[str], page: int) -> "list[FlowRun]":
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        types = FlowRunFilterStateType(any_=[StateType(kind) for kind in kinds])
        client = await self._door.open()
        return await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=types)),
            work_pool_filter=where,  # pyright: ignore[reportArgumentType]  imported where it is made
            sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
            limit=_PAGE,
            offset=page * _PAGE,
        )

    async def _finished(self, job_type: str) -> Took | None:
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
        )
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        client = await self._door.open()
        found = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[job_type])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
            ),
            sort=FlowRunSort.END_TIME_DESC,
            limit=forecast.GUESSED_FROM,
        )
        times = [
            (run.end_time - run.start_time).total_seconds()
            for run in found
            if run.start_time and run.end_time
        ]
        return forecast.took(times)


def _rank(run: "FlowRun") -> int:
    """Return a run's priority rank as the worker does: by its parameter, else by its work queue."""
    if "priority" in (run.parameters.get("control") or {}):
        return PRIORITIES.index(read_control(run.parameters).priority)
    queue = run.work_queue_name
    return PRIORITIES.index(queue) if queue in PRIORITIES else PRIORITIES.index("normal")


def _due(run: "FlowRun") -> datetime:
    return run.next_scheduled_start_time or run.expected_start_time or datetime.now(UTC)
