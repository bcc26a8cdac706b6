"""Lookup of work for a worker: when to poll its work pool, and which of the queued runs to claim."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import anyio
import httpx

from deployments.warm_worker.child.slot import Slot
from deployments.warm_worker.queue.run_queue import RunQueue
from deployments.warm_worker.queue.tenant_limits import TenantLimits
from deployments.warm_worker.run.claimed_run import ClaimedRun
from deployments.warm_worker.run.time_limits import is_expired
from deployments.warm_worker.run.webhook_runs import WebhookRuns
from deployments.warm_worker.run_states import RunStateWriter
from flows.prefect_state.queue_order import limited_tenant_of, tenant_of
from flows.schemas.control import EXPIRED_MESSAGE, REASON_ABORTED
from flows.webhooks.deliveries import WEBHOOK_TAGS

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from deployments.warm_worker.run.server_watch import ServerWatch

_POLL_WITHOUT_EVENTS_S: Final = 1.0
"""Poll interval while the event stream is down."""
_MAX_POLL_INTERVAL_S: Final = 15.0
"""Longest poll interval: the server's scheduler creates runs without an event."""
_LATE_RUN_POLL_S: Final = 1.0
"""Poll interval while a limit of its tenant, queue or pool delays a due run."""


class RunPoller:
    """
    Finds runs for the free children of a worker, in the order of its queue and within tenant limits.

    Webhook runs need no child. They are also found while all children are busy.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        claimed_runs: dict[UUID, ClaimedRun],
        is_draining: Callable[[], bool],
    ) -> None:
        """
        Create a poller that finds nothing until `connect` is called.

        Args:
            slots:        the worker's children.
            claimed_runs: the worker's current runs by id; `claim_available` adds to it.
            is_draining:  returns whether the worker has stopped claiming runs.
        """
        self._slots, self._claimed_runs, self._is_draining = slots, claimed_runs, is_draining
        self._run_queue: RunQueue | None = None
        self._tenant_limits: TenantLimits | None = None
        self._webhook_runs: WebhookRuns | None = None
        self._poll_requested = asyncio.Event()

    def connect(
        self, run_queue: RunQueue, tenant_limits: TenantLimits, webhook_runs: WebhookRuns | None
    ) -> None:
        """
        Set the queue to claim runs from.

        Args:
            run_queue:     the queue.
            tenant_limits: concurrency limits of its tenants.
            webhook_runs:  executes the webhook runs of the queue; None: children execute them.
        """
        self._run_queue, self._tenant_limits, self._webhook_runs = run_queue, tenant_limits, webhook_runs

    def request_poll(self) -> None:
        """Poll now: a child is free, or a run is due."""
        self._poll_requested.set()

    def on_run_queued(self, tags: list[str]) -> None:
        """Poll now, because a run with these tags was queued; empty: unknown runs."""
        if self._run_queue is not None:
            self._run_queue.note_tags(tags)
        is_webhook = set(WEBHOOK_TAGS) <= set(tags)
        if not tags or is_webhook or self._webhook_runs is None or self._count_free_children() > 0:
            self.request_poll()

    async def poll_when_woken(self, poll: Callable[[], Awaitable[Any]], watch: "ServerWatch") -> None:
        """
        Poll for runs as soon as a child is free or a run is due, until cancelled.

        Events announce runs that are due now; for later runs, the due time is read from the server.

        Args:
            poll:  claims runs.
            watch: reports whether events arrive.
        """
        while True:
            with anyio.move_on_after(await self._seconds_to_next_poll(watch)):
                await self._poll_requested.wait()
            self._poll_requested.clear()
            await poll()

    async def _seconds_to_next_poll(self, watch: "ServerWatch") -> float:
        """Return the seconds until the next poll; an event triggers it earlier."""
        if not watch.is_listening:
            return _POLL_WITHOUT_EVENTS_S
        has_free_children = self._count_free_children() > 0
        if self._run_queue is None or not (has_free_children or self._finds_webhooks):
            return _MAX_POLL_INTERVAL_S
        try:
            due_at = await self._run_queue.next_due(() if has_free_children else WEBHOOK_TAGS)
        except (httpx.HTTPError, OSError):
            return _POLL_WITHOUT_EVENTS_S
        if due_at is None:
            return _MAX_POLL_INTERVAL_S
        remaining_s = (due_at - datetime.now(UTC)).total_seconds()
        return min(remaining_s, _MAX_POLL_INTERVAL_S) if remaining_s > 0 else _LATE_RUN_POLL_S

    async def claim_available(self, start: Callable[["FlowRun"], None]) -> "list[FlowRun]":
        """
        Claim as many queued runs as there are free children, and cancel those whose deadline has passed.

        Webhook runs are claimed as far as there are places for their receivers and tenants.

        Args:
            start: starts the execution of a run; called for each run as soon as it is claimed.

        Returns:
            The claimed runs.
        """
        claimed_runs: list[FlowRun] = []
        queue, free_children = self._run_queue, self._count_free_children()
        if queue is None or not (free_children > 0 or self._finds_webhooks):
            return claimed_runs
        webhooks, others = await self._read_queued(queue)
        webhook_ids = {run.id for run in webhooks}
        running = Counter(tenant_of(taken.run.tags) for taken in self._claimed_runs.values())
        for run in [*queue.prioritize(webhooks, running, limit=None), *queue.prioritize(others, running)]:
            if self._is_draining():
                break
            if run.id in self._claimed_runs:
                continue
            if run.id in webhook_ids:
                is_claimed = self._claim_without_child(run)
            else:
                is_claimed = free_children > 0 and await self._claim_for_child(queue, run)
                free_children -= is_claimed
            if is_claimed:
                queue.rotate_tenant(tenant_of(run.tags))
                claimed_runs.append(run)
                start(run)
        return claimed_runs

    async def _read_queued(self, queue: RunQueue) -> "tuple[list[FlowRun], list[FlowRun]]":
        """Return queued runs that are due: those that need no child, and those that do."""
        webhook_runs = self._webhook_runs
        if webhook_runs is None:
            return [], await queue.fetch()
        await webhook_runs.refresh()
        runs = await queue.fetch(with_webhooks=True)
        webhooks = [run for run in runs if webhook_runs.takes(run)]
        ids = {run.id for run in webhooks}
        return webhooks, [run for run in runs if run.id not in ids]

    def _claim_without_child(self, run: "FlowRun") -> bool:
        if self._webhook_runs is None or not self._webhook_runs.take_place(run):
            return False
        self._claimed_runs[run.id] = ClaimedRun(run, needs_child=False)
        return True

    async def _claim_for_child(self, queue: RunQueue, run: "FlowRun") -> bool:
        if is_expired(run):
            await RunStateWriter(queue.client).set_cancelled(
                run.id, EXPIRED_MESSAGE, REASON_ABORTED, observed=run
            )
            return False
        limited_tenant = limited_tenant_of(run.tags)
        if self._tenant_limits and not await self._tenant_limits.acquire(run.id, limited_tenant):
            return False
        self._claimed_runs[run.id] = ClaimedRun(run)
        return True

    @property
    def _finds_webhooks(self) -> bool:
        """Whether webhook runs are claimed now, with or without a free child."""
        return self._webhook_runs is not None and not self._is_draining()

    def _count_free_children(self) -> int:
        """Return the number of idle children minus the claimed runs that have no child yet."""
        if self._is_draining():
            return 0
        waiting_runs = sum(1 for taken in self._claimed_runs.values() if taken.waits_for_child)
        return sum(1 for slot in self._slots if slot.is_free) - waiting_runs
