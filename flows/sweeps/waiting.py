"""
Maintenance task: cancel queued jobs past their deadline.

Workers do this too, but only while they poll the queue.
"""

from collections.abc import Iterable, Iterator

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled

from flows.control import ABORTED, ENDED_AS, EXPIRED, is_past, read_control
from flows.sweeps.look import Deed, Look


def late(unfinished: Iterable[FlowRun]) -> list[FlowRun]:
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
        and is_past(read_control(run.parameters), run.created)
    ]


def expire_waiting(look: Look) -> Iterator[Deed]:
    """Cancel the jobs and yield one action per job."""
    for run in late(look.unfinished):
        if not look.dry_run:
            look.client.update_flow_run_labels(run.id, {ENDED_AS: ABORTED})
            look.client.set_flow_run_state(run.id, Cancelled(message=EXPIRED), force=True)
        yield Deed(EXPIRED, str(run.id))
