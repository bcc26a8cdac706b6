"""
Maintenance task: cancel queued jobs past their deadline.

Workers do this too, but only while they poll the queue.
"""

from collections.abc import Iterable, Iterator

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled

from flows.maintenance.context import SweepAction, SweepContext, is_unchanged
from flows.schemas.control import (
    ENDED_AS_LABEL,
    EXPIRED_MESSAGE,
    REASON_ABORTED,
    is_deadline_passed,
    read_control,
)


def expired(unfinished: Iterable[FlowRun]) -> list[FlowRun]:
    """
    Return the jobs that have passed their deadline and have not started.

    Args:
        unfinished: runs that have not ended.
    """
    return [
        run
        for run in unfinished
        if run.state_type == StateType.SCHEDULED
        and run.run_count == 0
        and run.created is not None
        and is_deadline_passed(read_control(run.parameters), run.created)
    ]


def cancel_expired_jobs(context: SweepContext) -> Iterator[SweepAction]:
    """Cancel the jobs and yield one action per job."""
    for run in expired(context.unfinished):
        if not is_unchanged(context.client, run):
            continue  # a worker has started it since the list was read
        if not context.dry_run:
            context.client.update_flow_run_labels(run.id, {ENDED_AS_LABEL: REASON_ABORTED})
            context.client.set_flow_run_state(run.id, Cancelled(message=EXPIRED_MESSAGE), force=True)
        yield SweepAction(EXPIRED_MESSAGE, str(run.id))
