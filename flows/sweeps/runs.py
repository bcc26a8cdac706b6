"""
Maintenance task: delete finished runs past their retention from Prefect's database, through its API.

The server deletes the task runs and states of a run with it, and its logs a little later, but not its
artifacts. They are deleted first, one request each, because the API has no bulk request for them. If the task
stops in between, a later run finds the same flow run again.
"""

from collections.abc import Iterator, Sequence
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

from flows.family import PART_OF
from flows.prefect_state.queries import MOST_VALUES, PAGE, chunks_of, read_any_of
from flows.registry import FLOWS
from flows.sweeps.history import Ties, needed_by, removable
from flows.sweeps.look import Deed, Look, read_unfinished
from flows.sweeps.named import owners_of
from flows.sweeps.pace import Pace
from flows.webhook_schemas import job_tag

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

OLD_RUN: Final = "Run past its retention"
"""Kind of action: a run was deleted."""
LIMIT_S: Final = 15.0
"""Time budget in seconds: the light work pool may have one worker slot, and webhooks wait for it."""
MOST_RUNS: Final = 2000
"""Maximum number of runs that one run of the janitor deletes."""

_AT_ONCE = 50
"""Maximum number of runs in one delete request; the server accepts no more."""
_ENDED = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
_CHORES = ("announce", "end_parts", "janitor")
"""Internal flows whose runs are not jobs and which no later run refers to."""


def remove_runs(look: Look) -> Iterator[Deed]:
    """Delete the oldest runs of this project's flows, up to the limits; runs of other flows are kept."""
    pace = Pace(LIMIT_S)
    needed = needed_by(read_unfinished(look.client))  # read again: earlier tasks enqueued webhooks
    left = MOST_RUNS
    for flows, days in (
        (_CHORES, look.retention.chores_days),
        (tuple(FLOWS), look.retention.jobs_days),
    ):
        before = look.before(days)
        if before is None:
            continue
        for run in _remove(look, _Past(look.client, flows, before), needed, left, pace):
            left -= 1
            yield Deed(OLD_RUN, str(run))


def _remove(look: Look, past: "_Past", needed: set[UUID], most: int, pace: Pace) -> Iterator[UUID]:
    kept = 0
    while most > 0 and not pace.is_over:
        with pace.step():
            page = past.page(kept)
            ties = past.ties(page, needed) if page else None
        if ties is None:
            return
        going = removable(page, ties, look.now)[:most]
        done = [run.id for run in going] if look.dry_run else []
        yield from done
        for chunk in [] if look.dry_run else chunks_of([run.id for run in going], _AT_ONCE):
            gone = _delete(look.client, chunk, pace)
            yield from gone
            done += gone
            if pace.is_over:
                return
        most -= len(done)
        kept += len(page) if look.dry_run else len(page) - len(done)


class _Past:
    """Finished runs of some flows that ended before a time."""

    def __init__(self, client: "SyncPrefectClient", flows: Sequence[str], before: datetime) -> None:
        self._client, self._before = client, before
        self._flows = FlowFilter(name=FlowFilterName(any_=list(flows)))

    def page(self, offset: int) -> list[FlowRun]:
        """Read one page of runs, oldest first."""
        return self._client.read_flow_runs(
            flow_filter=self._flows,
            flow_run_filter=FlowRunFilter(
                state=_ENDED,
                end_time=FlowRunFilterEndTime(before_=self._before),  # pyright: ignore[reportArgumentType]
                # a subflow run is kept until its parent run is deleted
                parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=PAGE,
            offset=offset,
        )

    def ties(self, page: Sequence[FlowRun], needed: set[UUID]) -> Ties:
        """Return the references that keep runs of a page."""
        named = {owner for run in page for owner in owners_of(run.tags)}
        younger = self._named_by_younger({run.id for run in page} - needed)
        return Ties(frozenset(self._existing(sorted(named))), frozenset(needed | younger))

    def _existing(self, ids: Sequence[UUID]) -> set[UUID]:
        def read(chunk: list[UUID], limit: int, offset: int) -> list[FlowRun]:
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
            return self._client.read_flow_runs(
                flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=limit, offset=offset
            )

        return {run.id for run in read_any_of(ids, read)}

    def _named_by_younger(self, ids: set[UUID]) -> set[UUID]:
        """Return the runs that a later run is a child job of, or reports."""
        named: set[UUID] = set()
        for some in chunks_of(sorted(ids), MOST_VALUES // 2):  # two tags each
            while asked := [run for run in some if run not in named]:
                page = self._tagged([tag for run in asked for tag in (f"{PART_OF}{run}", job_tag(run))])
                named |= {owner for run in page for owner in owners_of(run.tags)}
                if (
                    len(page) < PAGE
                ):  # a full page may hold the children of one run only: ask again without it
                    break
        return named

    def _tagged(self, chunk: list[str]) -> list[FlowRun]:
        """Read up to one page of later finished runs that have one of the tags."""
        wanted = FlowRunFilter(
            tags=FlowRunFilterTags(any_=chunk),
            state=_ENDED,
            end_time=FlowRunFilterEndTime(after_=self._before),  # pyright: ignore[reportArgumentType]
        )
        return self._client.read_flow_runs(flow_run_filter=wanted, limit=PAGE)


def _delete(client: "SyncPrefectClient", chunk: list[UUID], pace: Pace) -> list[UUID]:
    """Delete runs with their artifacts; return the deleted ones, none if the time budget ends before."""
    own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=chunk))
    while True:
        with pace.step():
            notes = client.read_artifacts(artifact_filter=own, limit=PAGE)
        if not notes:
            break
        for note in notes:
            if pace.is_over:
                return []
            with pace.step():
                _delete_artifact(client, note.id)
    # the filter on final states excludes runs that were restarted meanwhile
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=chunk), state=_ENDED)
    with pace.step():
        answer: Any = client.request(
            "POST",
            "/flow_runs/bulk_delete",  # pyright: ignore[reportArgumentType]  newer than the list of routes
            json={"flow_runs": wanted.model_dump(mode="json"), "limit": len(chunk)},
        )
    return [UUID(run) for run in answer.json()["deleted"]]


def _delete_artifact(client: "SyncPrefectClient", artifact: UUID) -> None:
    try:
        client.delete_artifact(artifact)
    except ObjectNotFound:
        return
