"""Maintenance task: cancel child jobs that are still active although their parent was canceled."""

from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelling

from flows.maintenance.context import SweepAction, SweepContext
from flows.maintenance.references import parents_of
from flows.prefect_state.queries import read_any_of
from flows.schemas.control import ENDED_AS_LABEL, REASON_CANCELLED

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PARENT_CANCELED: Final = "Its parent job was canceled"
"""Kind of action, and message of the state that is set."""


def find_orphans(unfinished: Iterable[FlowRun], cancelled: Container[UUID]) -> list[FlowRun]:
    """
    Return the runs whose parent was canceled and that are not being canceled yet.

    Args:
        unfinished: runs that have not ended.
        cancelled:  runs that were canceled.
    """
    return [
        run
        for run in unfinished
        if run.state_type != StateType.CANCELLING  # already being canceled
        and any(parent in cancelled for parent in parents_of(run.tags))
    ]


def cancel_orphans(context: SweepContext) -> Iterator[SweepAction]:
    """Request cancellation: a queued run ends at once, a running one is stopped by its worker."""
    parents = {parent for run in context.unfinished for parent in parents_of(run.tags)}
    for run in find_orphans(context.unfinished, _read_cancelled(context.client, sorted(parents))):
        if not context.dry_run:
            request_cancel(context.client, run)
        yield SweepAction(PARENT_CANCELED, str(run.id))


def request_cancel(client: "SyncPrefectClient", run: FlowRun) -> None:
    """
    Request cancellation of a child job.

    Args:
        client: client of the Prefect server.
        run:    flow run of the child job.
    """
    client.update_flow_run_labels(run.id, {ENDED_AS_LABEL: REASON_CANCELLED})
    client.set_flow_run_state(run.id, Cancelling(message=PARENT_CANCELED))


def _read_cancelled(client: "SyncPrefectClient", ids: list[UUID]) -> set[UUID]:
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLED]))

    def read(chunk: list[UUID], limit: int, offset: int) -> list[FlowRun]:
        run_filter = FlowRunFilter(id=FlowRunFilterId(any_=chunk), state=state)
        return client.read_flow_runs(
            flow_run_filter=run_filter, sort=FlowRunSort.ID_DESC, limit=limit, offset=offset
        )

    return {run.id for run in read_any_of(ids, read)}
