"""
Finished runs past their retention, taken out of Prefect's database through its API.

The server deletes a run's task runs and states with it, and its logs a little later; artifacts it leaves, so
they go first, one by one: there is no other way. A run that was left without them is found again.
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

OLD_RUN: Final = "Run was past its retention"
LIMIT_S: Final = 15.0
"""The light pool may have one child, and webhooks wait for it."""
MOST_RUNS: Final = 2000

_AT_ONCE = 50
"""Runs that one request deletes; the server takes no more."""
_ENDED = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
_CHORES = ("announce", "end_parts", "janitor")
"""Flows whose runs are nobody's job and tell nothing later."""


def remove_runs(look: Look) -> Iterator[Deed]:
    """Remove the oldest, as many as a run of the janitor may; what others run on this server is theirs."""
    pace = Pace(LIMIT_S)
    needed = needed_by(read_unfinished(look.client))  # anew: earlier sweeps set webhooks going
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
        """Read some, the oldest first."""
        return self._client.read_flow_runs(
            flow_filter=self._flows,
            flow_run_filter=FlowRunFilter(
                state=_ENDED,
                end_time=FlowRunFilterEndTime(before_=self._before),  # pyright: ignore[reportArgumentType]
                # a subflow's run is kept as long as its parent's, which is then taken out of it
                parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=PAGE,
            offset=offset,
        )

    def ties(self, page: Sequence[FlowRun], needed: set[UUID]) -> Ties:
        """See what holds them."""
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
        """Return those of which a run that ended later is a part, or tells."""
        named: set[UUID] = set()
        for some in chunks_of(sorted(ids), MOST_VALUES // 2):  # two tags each
            while asked := [run for run in some if run not in named]:
                page = self._tagged([tag for run in asked for tag in (f"{PART_OF}{run}", job_tag(run))])
                named |= {owner for run in page for owner in owners_of(run.tags)}
                if len(page) < PAGE:  # else one with many children may have hidden the others
                    break
        return named

    def _tagged(self, chunk: list[str]) -> list[FlowRun]:
        """Read some runs that ended later and have one of these tags, at most a page."""
        wanted = FlowRunFilter(
            tags=FlowRunFilterTags(any_=chunk),
            state=_ENDED,
            end_time=FlowRunFilterEndTime(after_=self._before),  # pyright: ignore[reportArgumentType]
        )
        return self._client.read_flow_runs(flow_run_filter=wanted, limit=PAGE)


def _delete(client: "SyncPrefectClient", chunk: list[UUID], pace: Pace) -> list[UUID]:
    """Delete runs and what belongs to them; returns those that are gone, none when time is up before."""
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
    # one that was set going again meanwhile is none of those
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
