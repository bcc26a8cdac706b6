"""
Maintenance task: free slots of tenants' concurrency limits that no run occupies.

Prefect counts a slot as taken before it stores the slot's lease. If the server is killed in between, there is
no lease that could expire, and the slot stays taken. Slots of runs that start or end at this moment look the
same; therefore slots are freed that were in excess in every pass for `CONFIRM_AFTER`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from prefect.client.schemas.objects import StateType
from prefect.variables import Variable

from flows.maintenance.context import SweepAction, SweepContext, read_unfinished
from flows.prefect_state.queue_order import limited_tenant_of
from tasks.run.tenancy import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

CONFIRM_AFTER: Final = timedelta(minutes=9)
"""At the janitor's interval of five minutes the third pass frees a slot; a lease expires within 90 s."""
UNUSED_SLOT: Final = "Slot of a tenant without a run"
"""Kind of action."""
VARIABLE: Final = "musetalk_unused_slots"
"""Prefect variable with the slots in excess, by name of the limit."""
_CLAIMED: Final = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING}
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class _Excess:
    """Slots of a limit that were in excess in every pass since a time: the smallest number."""

    since: datetime
    slots: int


def free_unused_slots(context: SweepContext) -> Iterator[SweepAction]:
    """Free slots that were in excess for `CONFIRM_AFTER`, and remember the others; one action per limit."""
    former = _load()
    found = {
        name: _Excess(former[name].since, min(former[name].slots, slots))
        if name in former
        else _Excess(context.now, slots)
        for name, slots in _count_excess(context.client).items()
    }
    confirmed = {name for name, one in found.items() if context.now - one.since >= CONFIRM_AFTER}
    if context.dry_run:
        yield from (SweepAction(UNUSED_SLOT, name) for name in sorted(confirmed))
        return
    for name in sorted(confirmed):
        context.client.release_concurrency_slots([name], found[name].slots, CONFIRM_AFTER.total_seconds())
        yield SweepAction(UNUSED_SLOT, name)
    rest = {name: one for name, one in found.items() if name not in confirmed}
    if rest != former:
        _save(rest)


def _count_excess(client: "SyncPrefectClient") -> dict[str, int]:
    """Return the taken slots beyond the number of claimed runs, by name of the limit."""
    taken = _read_taken_slots(client)
    if not taken:
        return {}
    claimed = Counter(
        f"{TENANT_TAG}{limited_tenant_of(run.tags)}"
        for run in read_unfinished(client)
        if run.state_type in _CLAIMED
    )
    return {name: slots - claimed[name] for name, slots in taken.items() if slots > claimed[name]}


def _read_taken_slots(client: "SyncPrefectClient") -> dict[str, int]:
    taken: dict[str, int] = {}
    offset = 0
    while page := client.read_global_concurrency_limits(limit=_PAGE, offset=offset):
        taken |= {
            one.name: one.active_slots
            for one in page
            if one.name.startswith(TENANT_TAG) and one.active and one.active_slots
        }
        offset += len(page)
    return taken


def _load() -> dict[str, _Excess]:
    """Return the slots in excess of the last pass; none if the variable was edited to something else."""
    try:
        stored: Any = json.loads(str(Variable.get(VARIABLE, default="{}")))
        return {
            str(name): _Excess(datetime.fromisoformat(since), int(slots))
            for name, (since, slots) in stored.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def _save(found: dict[str, _Excess]) -> None:
    content = {name: (one.since.isoformat(), one.slots) for name, one in found.items()}
    Variable.set(VARIABLE, json.dumps(content), overwrite=True)
