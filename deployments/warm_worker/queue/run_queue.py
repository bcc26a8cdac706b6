"""
Order in which a worker claims queued runs: by priority, then round-robin between tenants, then by due time.

Prefect returns the oldest due runs of a pool, highest-priority queue first, one page at a time. If a tenant
fills the whole page, the runs of other tenants are read by their tags, so that they need not wait for all of
its jobs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterId,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from flows.prefect_state.queries import read_any_of_async
from flows.prefect_state.queue_order import QueuedItem, due_time, in_start_order, priority_rank, tenant_of
from flows.schemas.webhook import RECEIVER_TAG_PREFIX
from flows.webhooks.deliveries import WEBHOOK_TAGS
from tasks.run.tenancy import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

PAGE_SIZE: Final = 200
_MAX_TENANTS_PER_FETCH: Final = 50
_RUNS_PER_TENANT: Final = 5
"""Number of runs to read of each tenant or receiver that is missing from the page."""
_MAX_RECEIVERS: Final = 50
_MAX_ANNOUNCEMENTS: Final = 50


@dataclass(slots=True)
class RunQueue:
    """The queued runs of a work pool, and the tenants that have submitted runs."""

    client: "PrefectClient"
    pool: str
    queues: tuple[str, ...] = ()
    """Names of the queues to serve; empty: all queues of the pool."""
    tenants: dict[str, None] = field(default_factory=dict[str, None])
    """Tenants seen so far, least recently served first."""
    _receivers: dict[str, None] = field(default_factory=dict[str, None])
    """Tags of receivers of webhooks, least recently seen first; at most `_MAX_RECEIVERS`."""
    _queue_names: dict[UUID, str] = field(default_factory=dict[UUID, str])

    def note_tags(self, tags: Iterable[str]) -> None:
        """Record the tenant, and the receiver of a webhook, of a run's tags."""
        tenant = tenant_of(tags)
        if tenant is not None:
            self.tenants.setdefault(tenant, None)
        for tag in tags:
            if tag.startswith(RECEIVER_TAG_PREFIX):
                self._receivers.pop(tag, None)
                self._receivers[tag] = None
        while len(self._receivers) > _MAX_RECEIVERS:
            del self._receivers[next(iter(self._receivers))]

    def rotate_tenant(self, tenant: str | None) -> None:
        """Move a tenant to the end of the round-robin order."""
        if tenant is not None:
            self.tenants.pop(tenant, None)
            self.tenants[tenant] = None

    async def fetch(self, *, with_webhooks: bool = False) -> "list[FlowRun]":
        """
        Read queued runs that are due: a page of the oldest, and some of each tenant missing from it.

        Args:
            with_webhooks: if the page is full, also read webhook runs: a page of the oldest and, if that is
                full, announcements and some attempts for each receiver that is missing from it. So attempts
                for a slow receiver hide no others.
        """
        responses = await self.client.get_scheduled_flow_runs_for_work_pool(
            work_pool_name=self.pool,
            work_queue_names=list(self.queues) or None,
            scheduled_before=datetime.now(UTC),
        )
        runs = {entry.flow_run.id: entry.flow_run for entry in responses}
        for run in runs.values():
            self.note_tags(run.tags)
        if len(runs) >= PAGE_SIZE:
            queues = await self._read_active_queues()
            missing = await self._read_other_tenants(queues, {tenant_of(run.tags) for run in runs.values()})
            if with_webhooks:
                missing += await self._read_webhooks(queues)
            runs = {run.id: run for run in missing} | runs
        await self._ensure_queue_names(runs.values())
        return list(runs.values())

    async def next_due(self, tags: tuple[str, ...] = ()) -> datetime | None:
        """
        Return the due time of the next queued run, which may be in the past; None if no run is queued.

        Args:
            tags: tags of the runs to consider; empty: all runs.
        """
        read = partial(self._read_scheduled, tags)
        if self.queues:
            next_runs = await read_any_of_async(list(self.queues), read, order=due_time, limit=1)
        else:
            next_runs = await read(None, 1, 0)
        return due_time(next_runs[0]) if next_runs else None

    async def _read_scheduled(
        self, tags: tuple[str, ...], chunk: list[str] | None, limit: int, offset: int
    ) -> "list[FlowRun]":
        """Read scheduled runs of some queues of the pool, or of all, ordered by their due time."""
        return await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                tags=FlowRunFilterTags(all_=list(tags)) if tags else None,
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self.pool])),
            work_queue_filter=WorkQueueFilter(name=WorkQueueFilterName(any_=chunk)) if chunk else None,
            sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
            limit=limit,
            offset=offset,
        )

    async def _read_other_tenants(self, queues: list[UUID], page_tenants: set[str | None]) -> "list[FlowRun]":
        """Read the oldest runs of known tenants that are missing from the page."""
        missing_tenants = [name for name in self.tenants if name not in page_tenants][:_MAX_TENANTS_PER_FETCH]
        runs: list[FlowRun] = []
        for name in missing_tenants:
            runs += await self._read_due(queues, (f"{TENANT_TAG}{name}",), _RUNS_PER_TENANT)
        return runs

    async def _read_webhooks(self, queues: list[UUID]) -> "list[FlowRun]":
        """Read webhook runs; see `fetch`."""
        runs = await self._read_due(queues, WEBHOOK_TAGS, PAGE_SIZE)
        for run in runs:
            self.note_tags(run.tags)
        if len(runs) < PAGE_SIZE:
            return runs
        present = {tag for run in runs for tag in run.tags}
        missing_receivers = [tag for tag in self._receivers if tag not in present]
        runs += await self._read_due(queues, WEBHOOK_TAGS, _MAX_ANNOUNCEMENTS, flow="announce")
        for tag in missing_receivers:
            runs += await self._read_due(queues, (*WEBHOOK_TAGS, tag), _RUNS_PER_TENANT)
        return runs

    async def _read_due(
        self, queues: list[UUID], tags: tuple[str, ...], limit: int, flow: str | None = None
    ) -> "list[FlowRun]":
        """Read the oldest due runs with some tags in some queues."""

        async def read(chunk: list[UUID], limit: int, offset: int) -> "list[FlowRun]":
            return await self.client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])) if flow else None,
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                    tags=FlowRunFilterTags(all_=list(tags)),
                    next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),  # pyright: ignore[reportArgumentType]  annotated as a pendulum type
                ),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self.pool])),
                work_queue_filter=WorkQueueFilter(id=WorkQueueFilterId(any_=chunk)),
                sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
                limit=limit,
                offset=offset,
            )

        return await read_any_of_async(queues, read, order=due_time, limit=limit)

    async def _read_active_queues(self) -> list[UUID]:
        queues = await self.client.read_work_queues(work_pool_name=self.pool, limit=PAGE_SIZE)
        served_queues = [queue for queue in queues if not self.queues or queue.name in self.queues]
        self._queue_names.update({queue.id: queue.name for queue in queues})
        return [queue.id for queue in served_queues if not queue.is_paused]

    async def _ensure_queue_names(self, runs: "Iterable[FlowRun]") -> None:
        if any(run.work_queue_id and run.work_queue_id not in self._queue_names for run in runs):
            await self._read_active_queues()

    def prioritize(
        self,
        runs: "Iterable[FlowRun]",
        running: Mapping[str | None, int],
        limit: int | None = PAGE_SIZE,
    ) -> "list[FlowRun]":
        """
        Sort queued runs into the order in which they should start.

        Args:
            runs:    queued runs.
            running: number of running jobs per tenant in this worker; None: jobs without a tenant.
            limit:   maximum number of runs; None: all.

        Returns:
            The runs in the order of `flows.prefect_state.queue_order`.
        """
        items = [
            QueuedItem(run, priority_rank(run, self._queue_name(run)), tenant_of(run.tags), due_time(run))
            for run in runs
        ]
        return list(islice(in_start_order(items, running, self.tenants), limit))

    def _queue_name(self, run: "FlowRun") -> str | None:
        return self._queue_names.get(run.work_queue_id) if run.work_queue_id else None
