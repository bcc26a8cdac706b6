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

from flows.control import USUAL, Control
from flows.family import part_of
from flows.janitor_schemas import EndPartsJob, EndPartsResult
from flows.options import JOB
from flows.sweeps.orphans import end
from flows.webhook_runs import all_pages


@flow(name="end_parts", **JOB)
def end_parts(job: EndPartsJob, control: Control = USUAL) -> EndPartsResult:
    """Request cancellation of all unfinished child jobs; jobs that are already being canceled are skipped."""
    ended: list[str] = []
    with get_client(sync_client=True) as client:
        whole = client.read_flow_run(job.run)
        if whole.state_type == StateType.CANCELLED:  # otherwise it was started again meanwhile
            unfinished = FlowRunFilter(
                tags=FlowRunFilterTags(any_=[part_of(whole.id)]),
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(not_any_=[*TERMINAL_STATES, StateType.CANCELLING])
                ),
            )
            for run in all_pages(client, unfinished):
                end(client, run)
                ended.append(str(run.id))
    return EndPartsResult(ended=ended)
