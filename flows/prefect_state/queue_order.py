"""
Order in which queued runs start: by priority, then in turns of the tenants, then by due time.

Workers claim runs in this order, and the API computes queue positions from it. Imports no Prefect client.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from flows.prefect_state.labels import CHAIN_TAG, HOUSEKEEPING_TAG
from flows.schemas.control import PRIORITIES, read_control
from tasks.run.tenancy import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_NORMAL: Final = PRIORITIES.index("normal")
_WITHOUT_SLOT: Final = frozenset({CHAIN_TAG, HOUSEKEEPING_TAG})
"""Tags of runs that take no slot of their tenant's concurrency limit."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueuedItem(Generic[T]):
    """A queued run, as far as its place in the queue depends on it."""

    item: T
    rank: int
    """Priority; 0 is the highest."""
    tenant: str | None
    due: datetime


def tenant_of(tags: Iterable[str]) -> str | None:
    """Return the tenant from a run's tags; None if it has none."""
    return next((tag.removeprefix(TENANT_TAG) for tag in tags if tag.startswith(TENANT_TAG)), None)


def limited_tenant_of(tags: Iterable[str]) -> str | None:
    """
    Return the tenant of whose concurrency limit a run takes a slot; None if it takes none.

    A batch or pipeline takes none: it would wait for child jobs that wait for its slot. Neither do webhook
    deliveries, which are no jobs and report jobs that still run.
    """
    return None if _WITHOUT_SLOT.intersection(tags) else tenant_of(tags)


def priority_rank(run: "FlowRun", queue: str | None) -> int:
    """
    Return the priority of a run, 0 for the highest.

    Args:
        run:   the run; `control.priority` of its parameters overrides its queue.
        queue: name of its work queue. Other queues, such as Prefect's `default`, have normal priority.
    """
    control = run.parameters.get("control")
    if isinstance(control, Mapping) and "priority" in control:
        return PRIORITIES.index(read_control(run.parameters).priority)
    return PRIORITIES.index(queue) if queue in PRIORITIES else _NORMAL


def due_time(run: "FlowRun") -> datetime:
    """Return the time from which a run may start."""
    return run.next_scheduled_start_time or run.expected_start_time or datetime.now(UTC)


def in_start_order(
    items: Iterable[QueuedItem[T]], running: Mapping[str | None, int], turns: Iterable[str]
) -> Iterator[T]:
    """
    Yield queued runs in the order in which they start.

    Args:
        items:   queued runs, in any order.
        running: number of running jobs per tenant; None: jobs without a tenant.
        turns:   tenants in the order of their turns, least recently served first.

    Yields:
        By priority; within a priority, first the tenant with the fewest running or already yielded jobs, then
        by turns, then by due time. Jobs without a tenant, and tenants that `turns` does not name, come first.
    """
    turn_by_tenant = {tenant: number for number, tenant in enumerate(turns)}
    job_counts: Counter[str | None] = Counter(running)
    queue_by_rank: dict[int, dict[str | None, deque[QueuedItem[T]]]] = {}
    for item in sorted(items, key=lambda one: (one.rank, one.due)):
        queue_by_rank.setdefault(item.rank, {}).setdefault(item.tenant, deque()).append(item)
    for queues in queue_by_rank.values():

        def place(
            tenant: str | None, queues: dict[str | None, deque[QueuedItem[T]]] = queues
        ) -> tuple[int, int, datetime, str]:
            turn = turn_by_tenant.get(tenant or "", -1)
            return job_counts[tenant], turn, queues[tenant][0].due, tenant or ""

        heap = [(place(tenant), number, tenant) for number, tenant in enumerate(queues)]
        heapq.heapify(heap)
        while heap:
            _, number, tenant = heapq.heappop(heap)
            yield queues[tenant].popleft().item
            job_counts[tenant] += 1
            if queues[tenant]:
                heapq.heappush(heap, (place(tenant), number, tenant))
