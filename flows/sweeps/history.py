"""Which finished runs go from Prefect's database. Pure: what is known of them is given."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from flows.control import NOTIFY_TAG
from flows.sweeps.named import jobs_in, owners_of
from flows.webhook_runs import LOOK_BACK


@dataclass(frozen=True, slots=True)
class Ties:
    """What holds runs that are past their retention."""

    there: frozenset[UUID]
    """Of the runs that they name as their owners: those that exist."""
    needed: frozenset[UUID]
    """Those that a younger run names, or one that has not ended."""


def needed_by(unfinished: Iterable[FlowRun]) -> set[UUID]:
    """
    Return the runs that somebody still works for, or with.

    Args:
        unfinished: runs that have not ended; attempts at telling of a job are among them.
    """
    return {named for run in unfinished for named in owners_of(run.tags) | jobs_in(run.parameters)}


def removable(page: Sequence[FlowRun], ties: Ties, now: datetime) -> list[FlowRun]:
    """
    Choose those that may go, in order: an owner goes before what it owns, and never after.

    Args:
        page: finished runs past their retention, the oldest first.
        ties: what holds some of them.
        now:  the time.
    """
    going: dict[UUID, FlowRun] = {}
    for run in page:
        owned = any(owner in ties.there and owner not in going for owner in owners_of(run.tags))
        if not owned and run.id not in ties.needed and not _is_owed(run, now):
            going[run.id] = run
    return list(going.values())


def _is_owed(run: FlowRun, now: datetime) -> bool:
    """Tell whether somebody may yet have to be told of a run: attempts are looked for that long."""
    return NOTIFY_TAG in run.tags and (run.end_time is None or now - run.end_time < LOOK_BACK)
