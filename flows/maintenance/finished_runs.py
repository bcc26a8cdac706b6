"""
Maintenance task: delete finished runs past their retention from Prefect's database, through its API.

A run is kept while another run refers to it, while the run that owns it exists, or while a webhook of it may
still be due (`deletable_runs`).

The server deletes the task runs and states of a run with it, and its logs a little later, but not its
artifacts. They are deleted first, one request each, because the API has no bulk request for them. If the task
stops in between, a later run finds the same flow run again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from flows.maintenance.context import SweepAction, SweepContext, Throttle, read_unfinished
from flows.maintenance.references import owners_of, referenced_jobs
from flows.prefect_state.labels import PARENT_TAG
from flows.prefect_state.queries import MAX_FILTER_VALUES, PAGE_SIZE, chunks_of, read_any_of
from flows.registry import FLOWS
from flows.schemas.control import NOTIFY_TAG
from flows.schemas.webhook import job_tag
from flows.webhooks.deliveries import MISSED_SEARCH_PERIOD

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


OLD_RUN: Final = "Run past its retention"
"""Kind of action: a run was deleted."""
TIME_BUDGET_S: Final = 15.0
"""Time budget in seconds: the light work pool may have one worker slot, and webhooks wait for it."""
MAX_DELETED_RUNS: Final = 2000
"""Maximum number of runs that one run of the janitor deletes."""
_MAX_RUNS_PER_REQUEST = 50
"""Maximum number of runs in one delete request; the server accepts no more."""
_ENDED_STATES = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
_INTERNAL_FLOW_NAMES = ("announce", "end_parts", "janitor")
"""Internal flows whose runs are not jobs and which no later run refers to."""


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


def delete_old_runs(context: SweepContext) -> Iterator[SweepAction]:
    """Delete the oldest runs of this project's flows, up to the limits; runs of other flows are kept."""
    throttle = Throttle(TIME_BUDGET_S)
    referenced = referenced_by(read_unfinished(context.client))  # read again: earlier tasks enqueued webhooks
    remaining = MAX_DELETED_RUNS
    for flows, days in (
        (_INTERNAL_FLOW_NAMES, context.retention.chores_days),
        (tuple(FLOWS), context.retention.jobs_days),
    ):
        cutoff = context.cutoff(days)
        if cutoff is None:
            continue
        for run in _delete_page_by_page(
            context, _FinishedRuns(context.client, flows, cutoff), referenced, remaining, throttle
        ):
            remaining -= 1
            yield SweepAction(OLD_RUN, str(run))


def _delete_page_by_page(
    context: SweepContext,
    finished_runs: "_FinishedRuns",
    referenced: set[UUID],
    max_runs: int,
    throttle: Throttle,
) -> Iterator[UUID]:
    kept_count = 0
    while max_runs > 0 and not throttle.is_spent:
        with throttle.throttled():
            page = finished_runs.read_page(kept_count)
            holds = finished_runs.read_holds(page, referenced) if page else None
        if holds is None:
            return
        deletable = deletable_runs(page, holds, context.now)[:max_runs]
        deleted = [run.id for run in deletable] if context.dry_run else []
        yield from deleted
        for chunk in (
            [] if context.dry_run else chunks_of([run.id for run in deletable], _MAX_RUNS_PER_REQUEST)
        ):
            deleted_chunk = _delete_runs(context.client, chunk, throttle)
            yield from deleted_chunk
            deleted += deleted_chunk
            if throttle.is_spent:
                return
        max_runs -= len(deleted)
        kept_count += len(page) if context.dry_run else len(page) - len(deleted)


class _FinishedRuns:
    """Finished runs of some flows that ended before a time."""

    def __init__(self, client: "SyncPrefectClient", flows: Sequence[str], before: datetime) -> None:
        self._client, self._before = client, before
        self._flows = FlowFilter(name=FlowFilterName(any_=list(flows)))

    def read_page(self, offset: int) -> list[FlowRun]:
        """Read one page of runs, oldest first."""
        return self._client.read_flow_runs(
            flow_filter=self._flows,
            flow_run_filter=FlowRunFilter(
                state=_ENDED_STATES,
                end_time=FlowRunFilterEndTime(before_=self._before),  # pyright: ignore[reportArgumentType]
                # a subflow run is kept until its parent run is deleted
                parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=PAGE_SIZE,
            offset=offset,
        )

    def read_holds(self, page: Sequence[FlowRun], referenced: set[UUID]) -> RetentionHolds:
        """Return the references that keep runs of a page."""
        owner_ids = {owner for run in page for owner in owners_of(run.tags)}
        referenced_later = self._referenced_by_later({run.id for run in page} - referenced)
        return RetentionHolds(
            frozenset(self._read_existing(sorted(owner_ids))), frozenset(referenced | referenced_later)
        )

    def _read_existing(self, ids: Sequence[UUID]) -> set[UUID]:
        def read(chunk: list[UUID], limit: int, offset: int) -> list[FlowRun]:
            run_filter = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
            return self._client.read_flow_runs(
                flow_run_filter=run_filter, sort=FlowRunSort.ID_DESC, limit=limit, offset=offset
            )

        return {run.id for run in read_any_of(ids, read)}

    def _referenced_by_later(self, ids: set[UUID]) -> set[UUID]:
        """Return the runs that a later run is a child job of, or reports."""
        referenced: set[UUID] = set()
        for chunk in chunks_of(sorted(ids), MAX_FILTER_VALUES // 2):  # two tags each
            while remaining := [run for run in chunk if run not in referenced]:
                page = self._read_tagged_later(
                    [tag for run in remaining for tag in (f"{PARENT_TAG}{run}", job_tag(run))]
                )
                referenced |= {owner for run in page for owner in owners_of(run.tags)}
                if (
                    len(page) < PAGE_SIZE
                ):  # a full page may contain one run's children only: repeat without it
                    break
        return referenced

    def _read_tagged_later(self, chunk: list[str]) -> list[FlowRun]:
        """Read up to one page of later finished runs that have one of the tags."""
        run_filter = FlowRunFilter(
            tags=FlowRunFilterTags(any_=chunk),
            state=_ENDED_STATES,
            end_time=FlowRunFilterEndTime(after_=self._before),  # pyright: ignore[reportArgumentType]
        )
        return self._client.read_flow_runs(flow_run_filter=run_filter, limit=PAGE_SIZE)


def _delete_runs(client: "SyncPrefectClient", chunk: list[UUID], throttle: Throttle) -> list[UUID]:
    """Delete runs with their artifacts; return the deleted ones, none if the time budget ends before."""
    artifact_filter = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=chunk))
    while True:
        with throttle.throttled():
            artifacts = client.read_artifacts(artifact_filter=artifact_filter, limit=PAGE_SIZE)
        if not artifacts:
            break
        for artifact in artifacts:
            if throttle.is_spent:
                return []
            with throttle.throttled():
                _delete_artifact(client, artifact.id)
    # the filter on final states excludes runs that were restarted meanwhile
    run_filter = FlowRunFilter(id=FlowRunFilterId(any_=chunk), state=_ENDED_STATES)
    with throttle.throttled():
        response: Any = client.request(
            "POST",
            "/flow_runs/bulk_delete",  # pyright: ignore[reportArgumentType]  newer than the list of routes
            json={"flow_runs": run_filter.model_dump(mode="json"), "limit": len(chunk)},
        )
    return [UUID(run) for run in response.json()["deleted"]]


def _delete_artifact(client: "SyncPrefectClient", artifact: UUID) -> None:
    try:
        client.delete_artifact(artifact)
    except ObjectNotFound:
        return
