"""Selection of the finished runs that may be deleted from Prefect's database. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from flows.control import NOTIFY_TAG
from flows.sweeps.named import owners_of, referenced_jobs
from flows.webhook_runs import MISSED_SEARCH_PERIOD


@dataclass(frozen=True, slots=True)
class RetentionHolds:
    """References that keep runs beyond their retention."""

    existing_owners: frozenset[UUID]
    """Existing runs among the owners of the candidates."""
    referenced: frozenset[UUID]
    """Runs that are referenced by a younger run, or by one that has not ended."""


def referenced_by(unfinished: Iterable[FlowRun]) -> set[UUID]:
    """
    Return the runs that unfinished runs refer to.

    Args:
        unfinished: runs that have not ended, including webhook delivery attempts.
    """
    return {named for run in unfinished for named in owners_of(run.tags) | referenced_jobs(run.parameters)}


def deletable_runs(page: Sequence[FlowRun], holds: RetentionHolds, now: datetime) -> list[FlowRun]:
    """
    Return the runs that may be deleted, in order: an owner is deleted before the runs that it owns.

    Args:
        page:  finished runs past their retention, oldest first.
        holds: references that keep some of them.
        now:   current time.
    """
    selected: dict[UUID, FlowRun] = {}
    for run in page:
        is_owned = any(
            owner in holds.existing_owners and owner not in selected for owner in owners_of(run.tags)
        )
        if not is_owned and run.id not in holds.referenced and not _may_owe_webhook(run, now):
            selected[run.id] = run
    return list(selected.values())


def _may_owe_webhook(run: FlowRun, now: datetime) -> bool:
    """Return whether a webhook of a run may still be due; missed webhooks are searched for that long."""
    return NOTIFY_TAG in run.tags and (run.end_time is None or now - run.end_time < MISSED_SEARCH_PERIOD)
