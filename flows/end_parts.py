"""The `end_parts` flow: cancel the child jobs of a canceled batch or pipeline. An automation starts it."""

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType

from flows.maintenance.orphaned_jobs import request_cancel
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.prefect_state.labels import parent_tag
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.maintenance import EndPartsJob, EndPartsResult
from flows.webhooks.deliveries import read_all_runs


@flow(name="end_parts", **FLOW_OPTIONS)
def end_parts(job: EndPartsJob, control: Control = DEFAULT_CONTROL) -> EndPartsResult:
    """Request cancellation of all unfinished child jobs; jobs that are already being canceled are skipped."""
    canceled: list[str] = []
    with get_client(sync_client=True) as client:
        parent = client.read_flow_run(job.run)
        if parent.state_type == StateType.CANCELLED:  # otherwise it was started again meanwhile
            unfinished = FlowRunFilter(
                tags=FlowRunFilterTags(any_=[parent_tag(parent.id)]),
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(not_any_=[*TERMINAL_STATES, StateType.CANCELLING])
                ),
            )
            for run in read_all_runs(client, unfinished):
                request_cancel(client, run)
                canceled.append(str(run.id))
    return EndPartsResult(ended=canceled)
