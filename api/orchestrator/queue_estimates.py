"""Queue positions and ETAs from Prefect: cached snapshots of each work pool's queue and of run times."""

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from uuid import UUID

from api.http.metrics import PoolQueue
from api.jobs.eta import MAX_HISTORY_JOBS, DurationStats, duration_stats, eta_for_queued, eta_for_running
from api.jobs.model import Job, QueueEstimate
from api.orchestrator.connection import PrefectConnection
from flows.prefect_state.queue_order import QueuedItem, due_time, in_start_order, priority_rank, tenant_of
from flows.registry import JOB_TYPES, JobType
from flows.schemas.control import PRIORITIES, Control
from tasks.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_QUEUE_TTL_S: Final = 1.0
_HISTORY_TTL_S: Final = 30.0
_LOAD_FACTOR: Final = 10
"""Least life of a value, as a multiple of the time of its load."""
_PAGE_SIZE: Final = 200
_MAX_PAGES: Final = 5
"""Only the first thousand runs of a longer queue get a position."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


class TtlValue(Generic[T]):
    """
    A value that is loaded again when it has expired; one load at a time.

    It lives for its time to live, or for ten times what its load took, if that is longer. In the second half
    of its life a read starts the next load in the background. So loads that are slow, because a queue is long
    or the server busy, take at most a fifth of the time, and readers seldom wait.
    """

    def __init__(self, load: Callable[[], Awaitable[T]], ttl_s: float) -> None:
        self._load, self._ttl_s = load, ttl_s
        self._cached: tuple[T, float, float] | None = None
        """Value, and the monotonic times of its next load and of its expiry."""
        self._loading: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the value, loading it if it is missing or expired."""
        now = time.monotonic()
        if self._cached is None or now >= self._cached[2]:
            # shielded: a caller that is canceled must not cancel the load for the others
            return await asyncio.shield(self._start_load())
        value, refresh_at, _ = self._cached
        if now >= refresh_at:
            self._start_load()
        return value

    def _start_load(self) -> "asyncio.Task[T]":
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_value())
            self._loading.add_done_callback(_retrieve_error)
        return self._loading

    async def _load_value(self) -> T:
        started = time.monotonic()
        value = await self._load()
        life_s = max(self._ttl_s, _LOAD_FACTOR * (time.monotonic() - started))
        self._cached = value, started + life_s / 2, started + life_s
        return value


def _retrieve_error(load: "asyncio.Task[T]") -> None:
    """Mark the error of a load as retrieved: callers that waited received it."""
    if not load.cancelled():
        load.exception()


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A queued run of a work pool; `type` is None if it is not a job."""

    id: UUID | None
    type: str | None


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """A snapshot of the queue of one work pool."""

    claimed: tuple[QueuedJob, ...] = ()
    """Runs that a worker has claimed and not started yet."""
    waiting: tuple[QueuedItem[QueuedJob], ...] = ()
    """Queued runs that are due."""
    running: tuple[str, ...] = ()
    """Job types of running jobs."""
    running_by_tenant: Mapping[str | None, int] = field(default_factory=dict[str | None, int])
    """Number of running and claimed runs per tenant."""
    turns: tuple[str, ...] = ()
    """Tenants with running runs, least recently served first."""
    order: tuple[QueuedJob, ...] = ()
    """Queued jobs in the order in which they start."""
    positions: Mapping[UUID, int] = field(default_factory=dict[UUID, int])
    """Queue position by job id, starting at 1."""

    def jobs_in_order(self, *more: QueuedItem[QueuedJob]) -> list[QueuedJob]:
        """Return the queued jobs, and more of them, in the order in which they start."""
        ordered = in_start_order((*self.waiting, *more), self.running_by_tenant, self.turns)
        return [job for job in (*self.claimed, *ordered) if job.type is not None]


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
            types_ahead = [*queue.running, *_types_of(queue.order[: position - 1])]
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
        new_job = QueuedJob(None, job_type.name)
        rank = PRIORITIES.index(control.priority)
        order = queue.jobs_in_order(QueuedItem(new_job, rank, control.tenant, datetime.now(UTC)))
        waiting = _types_of(order[: order.index(new_job)])
        types_ahead = [*queue.running, *waiting]
        stats_by_type = {kind: await self._history[kind].get() for kind in {*types_ahead, job_type.name}}
        history = stats_by_type[job_type.name]
        eta = eta_for_queued(history, [stats_by_type[kind] for kind in types_ahead], len(queue.running))
        return QueueEstimate(len(waiting), history, eta)

    async def queues(self) -> tuple[PoolQueue, ...]:
        """Return the state of each pool's queue, of its first thousand runs."""
        now, queues = datetime.now(UTC), list[PoolQueue]()
        for pool, cached in sorted(self._queues.items()):
            queue = await cached.get()
            by_rank = Counter(item.rank for item in queue.waiting)
            waiting = {priority: by_rank[rank] for rank, priority in enumerate(PRIORITIES)}
            oldest = max(((now - item.due).total_seconds() for item in queue.waiting), default=0.0)
            running = sum(queue.running_by_tenant.values())
            queues.append(PoolQueue(pool, waiting, running, max(0.0, oldest), _jobs_by_class(queue)))
        return tuple(queues)

    async def _read_queue(self, pool: str) -> QueueSnapshot:
        from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

        pool_filter = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        waiting = await self._read_pages(pool_filter, ["SCHEDULED", "PENDING"])
        now = datetime.now(UTC)
        due_runs = [run for run in waiting if run.next_scheduled_start_time is None or due_time(run) <= now]
        active = await self._read_pages(pool_filter, ["RUNNING", "CANCELLING"])
        claimed = [run for run in due_runs if run.state_type == "PENDING"]
        served = sorted((run for run in [*active, *claimed]), key=lambda run: run.start_time or now)
        snapshot = QueueSnapshot(
            claimed=tuple([QueuedJob(run.id, await self._type_of(run)) for run in claimed]),
            waiting=tuple(
                [
                    QueuedItem(
                        QueuedJob(run.id, await self._type_of(run)),
                        priority_rank(run, run.work_queue_name),
                        tenant_of(run.tags),
                        due_time(run),
                    )
                    for run in due_runs
                    if run.state_type != "PENDING"
                ]
            ),
            running=tuple([kind for run in active if (kind := await self._type_of(run))]),
            running_by_tenant=Counter(tenant_of(run.tags) for run in served),
            # a tenant's last turn was its newest start: the last occurrence of a tenant counts
            turns=tuple(dict.fromkeys(tenant for run in reversed(served) if (tenant := tenant_of(run.tags))))[
                ::-1
            ],
        )
        order = tuple(snapshot.jobs_in_order())
        positions = {job.id: place for place, job in enumerate(order, start=1) if job.id is not None}
        return replace(snapshot, order=order, positions=positions)

    async def _read_pages(self, pool_filter: object, state_names: list[str]) -> "list[FlowRun]":
        runs: list[FlowRun] = []
        for page_number in range(_MAX_PAGES):
            page = await self._read_runs(pool_filter, state_names, page_number)
            runs += page
            if len(page) < _PAGE_SIZE:
                break
        return runs

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


def _jobs_by_class(queue: QueueSnapshot) -> dict[tuple[str, str], int]:
    """Count the waiting jobs by priority and class of their tenant, with zeros."""
    settings = get_settings().metrics
    waiting = Counter(
        (PRIORITIES[item.rank], settings.class_of(item.tenant)) for item in queue.waiting if item.item.type
    )
    return {pair: waiting[pair] for pair in itertools.product(PRIORITIES, settings.classes)}


def _types_of(jobs: Iterable[QueuedJob]) -> list[str]:
    return [job.type for job in jobs if job.type is not None]
