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
from flows.webhook_runs import first_due, make_attempt, missed, tenant_of
from tasks.policies import ALWAYS

_PAGE = 200


@flow(name="janitor", **JOB)
def janitor(job: JanitorJob, control: Control = USUAL) -> JanitorResult:
    """End what has waited too long, and tell those who were not told."""
    expired = expire_waiting(job.dry_run)
    announced = announce_missed(job.dry_run)
    done = [{"what": EXPIRED, "which": run} for run in expired]
    done += [{"what": "Webhook was missed", "which": name} for name in announced]
    if done:
        create_table_artifact(
            key="janitor",
            table=done,
            description="What would be done" if job.dry_run else "What was done",
        )
    return JanitorResult(expired=expired, announced=announced)


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


@task(**ALWAYS)
def announce_missed(dry_run: bool) -> list[str]:
    """
    Set webhooks going that nobody did: the server was away when its automation should have seen the end.

    Args:
        dry_run: only say which.

    Returns:
        Ids of the messages.
    """
    with get_client(sync_client=True) as client:
        found = missed(client, datetime.now(UTC))
        for attempt, run in [] if dry_run else found:
            make_attempt(client, attempt, first_due(attempt.event), tenant_of(run))
    return [attempt.webhook_id for attempt, _ in found]


def _is_late(run: FlowRun) -> bool:
    return run.run_count == 0 and is_past(read_control(run.parameters), run.created or datetime.now(UTC))
