"""janitor: housekeeping on a schedule."""

from datetime import UTC, datetime

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled

from flows.control import ABORTED, ENDED_AS, EXPIRED, USUAL, Control, is_past, read_control
from flows.options import JOB
from flows.schemas import JanitorJob, JanitorResult
from tasks.policies import ALWAYS

_PAGE = 200


@flow(name="janitor", **JOB)
def janitor(job: JanitorJob, control: Control = USUAL) -> JanitorResult:
    """Look through what waits, and end what has waited too long."""
    expired = expire_waiting(job.dry_run)
    if expired:
        create_table_artifact(
            key="janitor",
            table=[{"job": run, "what": EXPIRED} for run in expired],
            description="Jobs that would be ended" if job.dry_run else "Jobs that were ended",
        )
    return JanitorResult(expired=expired)


@task(**ALWAYS)
def expire_waiting(dry_run: bool) -> list[str]:
    """
    End waiting jobs that were to be finished by now. Workers do so too, but only while they are looking.

    Args:
        dry_run: only say which.

    Returns:
        Ids of the jobs.
    """
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    late: list[FlowRun] = []
    offset = 0
    with get_client(sync_client=True) as client:
        while page := client.read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=_PAGE, offset=offset
        ):
            offset += len(page)
            late += [run for run in page if _is_late(run)]
        for run in [] if dry_run else late:
            client.update_flow_run_labels(run.id, {ENDED_AS: ABORTED})
            client.set_flow_run_state(run.id, Cancelled(message=EXPIRED), force=True)
    return [str(run.id) for run in late]


def _is_late(run: FlowRun) -> bool:
    return run.run_count == 0 and is_past(read_control(run.parameters), run.created or datetime.now(UTC))
