"""Queue positions and ETAs from Prefect: cached snapshots of each work pool's queue and of run times."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from uuid import UUID

from api.jobs.eta import MAX_HISTORY_JOBS, DurationStats, duration_stats, eta_for_queued, eta_for_running
from api.jobs.model import Job, QueueEstimate
from api.orchestrator.connection import PrefectConnection
from flows.registry import JOB_TYPES, JobType
from flows.schemas.control import PRIORITIES, Control, read_control

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_QUEUE_TTL_S: Final = 1.0
_HISTORY_TTL_S: Final = 30.0
_PAGE_SIZE: Final = 200
_MAX_PAGES: Final = 5
"""Only the first thousand runs of a longer queue get a position."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


class TtlValue(Generic[T]):
    """A value that is loaded again when it is older than its time to live; one load at a time."""

    def __init__(self, load: Callable[[], Awaitable[T]], ttl_s: float) -> None:
        self._load, self._ttl_s = load, ttl_s
        self._cached: tuple[float, T] | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> T:
        """Return the value, loading it if it is missing or expired."""
        async with self._lock:
            if self._cached is None or time.monotonic() - self._cached[0] > self._ttl_s:
                self._cached = (time.monotonic(), await self._load())
            return self._cached[1]


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """A snapshot of the queue of one work pool."""

    order: tuple[tuple[UUID, str], ...] = ()
    """Ids and job types of queued jobs, next one first."""
    ranks: tuple[int, ...] = ()
    """Priority rank of each queued job; 0 is the highest."""
    running: tuple[str, ...] = ()
    """Job types of running jobs."""
    positions: Mapping[UUID, int] = field(default_factory=dict[UUID, int])
    """Queue position by job id, starting at 1."""


class QueueEstimator:
    """Estimates queue position and ETA of jobs."""

    def __init__(
        self, connection: PrefectConnection, type_of: Callable[["FlowRun"], Awaitable[str | None]]
    ) -> None:
        """
        Create an estimator; sends no request.

        Args:
            connection: connection to Prefect.
            type_of:    returns the job type of a flow run, None if it is not a job.
        """
        self._connection, self._type_of = connection, type_of
        pools = {job_type.pool for job_type in JOB_TYPES.values()}
        self._queues = {
            pool: TtlValue(lambda pool=pool: self._read_queue(pool), _QUEUE_TTL_S) for pool in pools
        }
        self._history = {
            name: TtlValue(lambda name=name: self._read_duration_stats(name), _HISTORY_TTL_S)
            for name in JOB_TYPES
        }

    async def with_estimate(self, job: Job) -> Job:
        """Return a copy of a job with its queue position and ETA; without them if they cannot be computed."""
        try:
            return await self._with_estimate(job)
        except Exception as error:  # a decoration of the status, which is correct without it
            _log.warning("no queue position and ETA: %s", error or type(error).__name__, exc_info=error)
            return job

    async def _with_estimate(self, job: Job) -> Job:
        if job.status == "queued":
            queue = await self._queues[JOB_TYPES[job.type].pool].get()
            position = queue.positions.get(job.id)
            if position is None:
                return job
            types_ahead = [*queue.running, *(kind for _, kind in queue.order[: position - 1])]
            stats_by_type = {kind: await self._history[kind].get() for kind in {*types_ahead, job.type}}
            ahead = [stats_by_type[kind] for kind in types_ahead]
            eta = eta_for_queued(stats_by_type[job.type], ahead, len(queue.running))
            return replace(job, position=position, eta=eta)
        if job.status == "running" and job.started is not None:
            elapsed = (datetime.now(UTC) - job.started).total_seconds()
            history = await self._history[job.type].get()
            return replace(job, eta=eta_for_running(history, elapsed, job.progress.percent))
        return job

    async def estimate(self, job_type: JobType, control: Control) -> QueueEstimate:
        """Estimate queue position and ETA of a job submitted now."""
        queue = await self._queues[job_type.pool].get()
        rank = PRIORITIES.index(control.priority)
        waiting = [kind for (_, kind), its in zip(queue.order, queue.ranks, strict=True) if its <= rank]
        types_ahead = [*queue.running, *waiting]
        stats_by_type = {kind: await self._history[kind].get() for kind in {*types_ahead, job_type.name}}
        history = stats_by_type[job_type.name]
        eta = eta_for_queued(history, [stats_by_type[kind] for kind in types_ahead], len(queue.running))
        return QueueEstimate(len(waiting), history, eta)

    async def _read_queue(self, pool: str) -> QueueSnapshot:
        from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

        pool_filter = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        waiting: list[FlowRun] = []
        for page_number in range(_MAX_PAGES):
            page = await self._read_runs(pool_filter, ["SCHEDULED", "PENDING"], page_number)
            waiting += page
            if len(page) < _PAGE_SIZE:
                break
        now = datetime.now(UTC)
        due_runs = [run for run in waiting if run.next_scheduled_start_time is None or _due_time(run) <= now]
        due_runs.sort(key=lambda run: (_priority_rank(run), _due_time(run)))
        job_runs = [(run, kind) for run in due_runs if (kind := await self._type_of(run))]
        order = [(run.id, kind) for run, kind in job_runs]
        running = [
            await self._type_of(run)
            for run in await self._read_runs(pool_filter, ["RUNNING", "CANCELLING"], 0)
        ]
        positions = {run_id: place for place, (run_id, _) in enumerate(order, start=1)}
        ranks = tuple(_priority_rank(run) for run, _ in job_runs)
        return QueueSnapshot(tuple(order), ranks, tuple(filter(None, running)), positions)

    async def _read_runs(self, pool_filter: object, state_names: list[str], page: int) -> "list[FlowRun]":
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        state_type_filter = FlowRunFilterStateType(any_=[StateType(kind) for kind in state_names])
        return await self._connection.read(
            lambda client: client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=state_type_filter)),
                work_pool_filter=pool_filter,  # pyright: ignore[reportArgumentType]  imported where it is made
                sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
                limit=_PAGE_SIZE,
                offset=page * _PAGE_SIZE,
            )
        )

    async def _read_duration_stats(self, job_type: str) -> DurationStats | None:
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
        )
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        completed = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
        finished_runs = await self._connection.read(
            lambda client: client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[job_type])),
                flow_run_filter=FlowRunFilter(state=completed),
                sort=FlowRunSort.END_TIME_DESC,
                limit=MAX_HISTORY_JOBS,
            )
        )
        durations_s = [
            (run.end_time - run.start_time).total_seconds()
            for run in finished_runs
            if run.start_time and run.end_time
        ]
        return duration_stats(durations_s)


def _priority_rank(run: "FlowRun") -> int:
    """Return a run's priority rank as the worker does: by its parameter, else by its work queue."""
    if "priority" in (run.parameters.get("control") or {}):
        return PRIORITIES.index(read_control(run.parameters).priority)
    queue = run.work_queue_name
    return PRIORITIES.index(queue) if queue in PRIORITIES else PRIORITIES.index("normal")


def _due_time(run: "FlowRun") -> datetime:
    return run.next_scheduled_start_time or run.expected_start_time or datetime.now(UTC)
