"""Selection of the finished runs that may be deleted from Prefect's database. Pure functions."""

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
    """References that keep runs beyond their retention."""

    there: frozenset[UUID]
    """Existing runs among the owners of the candidates."""
    needed: frozenset[UUID]
    """Runs that are referenced by a younger run, or by one that has not ended."""


def needed_by(unfinished: Iterable[FlowRun]) -> set[UUID]:
    """
    Return the runs that unfinished runs refer to.

    Args:
        unfinished: runs that have not ended, including webhook delivery attempts.
    """
    return {named for run in unfinished for named in owners_of(run.tags) | jobs_in(run.parameters)}


def removable(page: Sequence[FlowRun], ties: Ties, now: datetime) -> list[FlowRun]:
    """
    Return the runs that may be deleted, in order: an owner is deleted before the runs that it owns.

    Args:
        page:  finished runs past their retention, oldest first.
        holds: references that keep some of them.
        now:   current time.
    """
    going: dict[UUID, FlowRun] = {}
    for run in page:
        owned = any(owner in ties.there and owner not in going for owner in owners_of(run.tags))
        if not owned and run.id not in ties.needed and not _is_owed(run, now):
            going[run.id] = run
    return list(going.values())


def _is_owed(run: FlowRun, now: datetime) -> bool:
    """Return whether a webhook of a run may still be due; missed webhooks are searched for that long."""
    return NOTIFY_TAG in run.tags and (run.end_time is None or now - run.end_time < LOOK_BACK)
