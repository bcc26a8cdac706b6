"""
Webhooks on Prefect's server: attempts are flow runs of `notify`, and these functions make and find them.

Whoever sees that somebody is to be told calls `announce_run`; the idempotency key of an attempt makes that
safe for any number of callers, at any time, after any crash.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Scheduled

from flows.control import NOTIFY_TAG, TENANT_TAG, Control, Event, Notify, read_control
from flows.outcome import NOTES, PROGRESS, ended_as, error_of, read_progress, result_of, status_of
from flows.prefect_state.queries import MOST_VALUES, PAGE, read_any_of
from flows.registry import INTERNAL
from flows.webhook_body import Told
from flows.webhook_schemas import DELIVERED, REPLAY, SETTLED, NotifyJob, event_tag, job_tag
from tasks.webhook_schedule import DELAYS_S

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LOOK_BACK: Final = timedelta(days=4)
"""A little longer than the schedule of attempts."""
SETTLE_S: Final = 3.0
"""A run that failed or crashed may yet be started again, or turn out to have been stopped."""

_ENDS: Final[dict[StateType, Event]] = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "failed",
    StateType.CANCELLED: "canceled",
}


def happened(run: FlowRun) -> list[Event]:
    """
    Say what there is to tell of a run by now, in order.

    Args:
        run: as the server has it.
    """
    # a run that was cancelled before it began has a time of start, but was never run
    began: list[Event] = ["started"] if run.run_count > 0 else []
    end = _ENDS.get(run.state_type) if run.state_type else None
    return [*began, end] if end else began


def due_events(run: FlowRun) -> list[Event]:
    """Say what somebody wants to be told of a run by now."""
    notify = read_control(run.parameters).notify
    return [event for event in happened(run) if event in notify.events] if notify else []


def announce_run(client: "SyncPrefectClient", run: FlowRun) -> list[str]:
    """
    Set going what is to be told of a run by now.

    Args:
        client: of the server.
        run:    the job's.

    Returns:
        Ids of the messages, new or known.
    """
    told: list[str] = []
    for event in due_events(run):
        job = NotifyJob(run=run.id, event=event)
        make_attempt(client, job, first_due(event), tenant_of(run))
        told.append(job.webhook_id)
    return told


def first_due(event: Event) -> datetime:
    """Return when a message is sent first."""
    return datetime.now(UTC) + timedelta(seconds=SETTLE_S if event == "failed" else 0)


def tenant_of(run: FlowRun) -> str | None:
    """Return whose job it is, so that one tenant's slow receiver does not hold up the others."""
    return read_control(run.parameters).tenant


def make_attempt(client: "SyncPrefectClient", job: NotifyJob, due: datetime, tenant: str | None) -> FlowRun:
    """
    Make the run of an attempt, or find it when it was made before.

    Args:
        client: of the server.
        job:    the attempt.
        due:    when it is to run.
        tenant: whose turn it takes.
    """
    deployment = client.read_deployment_by_name(INTERNAL["notify"].deployment)
    wishes = (
        {"control": Control(tenant=tenant).model_dump(mode="json", exclude_defaults=True)} if tenant else {}
    )
    return client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"job": job.model_dump(mode="json")} | wishes,
        state=Scheduled(scheduled_time=due),
        name=job.name,
        idempotency_key=job.key,
        tags=[*job.tags, *([f"{TENANT_TAG}{tenant}"] if tenant else [])],
    )


def read_told(client: "SyncPrefectClient", run: FlowRun) -> Told:
    """
    Read what a webhook tells of a run.

    Args:
        client: of the server.
        run:    the job's.
    """
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), key=ArtifactFilterKey(any_=[*NOTES, PROGRESS])
    )
    found = sorted(client.read_artifacts(artifact_filter=wanted), key=lambda note: str(note.updated))
    notes = {str(note.key): note for note in found}  # the newest of each
    status, word = status_of(run), ended_as(run)
    return Told(
        id=run.id,
        type=client.read_flow(run.flow_id).name,
        status=status,
        created=run.created,
        started=run.start_time if run.run_count else None,
        ended=run.end_time,
        ended_as=word,
        error=error_of(status, word, notes, run.state),
        result=result_of(status, notes),
        progress=read_progress(notes.get(PROGRESS)),
    )


def attempts_of(client: "SyncPrefectClient", jobs: Iterable[UUID]) -> list[FlowRun]:
    """
    Find all attempts at telling of some jobs.

    Args:
        client: of the server.
        jobs:   any number.
    """
    flow = FlowFilter(name=FlowFilterName(any_=["notify"]))

    def read(chunk: list[str], limit: int, offset: int) -> list[FlowRun]:
        tagged = FlowRunFilter(tags=FlowRunFilterTags(any_=chunk))
        return client.read_flow_runs(
            flow_filter=flow,
            flow_run_filter=tagged,
            sort=FlowRunSort.ID_DESC,
            limit=limit,
            offset=offset,
        )

    return read_any_of([job_tag(job) for job in jobs], read)


def is_delivered(client: "SyncPrefectClient", job: NotifyJob) -> bool:
    """Tell whether a message has arrived by now."""
    wanted = {event_tag(job.event), DELIVERED}
    return any(wanted <= set(run.tags) for run in attempts_of(client, [job.run]))


def missed(client: "SyncPrefectClient", now: datetime) -> list[tuple[NotifyJob, FlowRun]]:
    """
    Find messages that nobody has set going, and such that came to a halt between two attempts.

    Args:
        client: of the server.
        now:    jobs that ended up to `LOOK_BACK` before it are looked at.

    Returns:
        The attempts that should be made, each with its job's run.
    """
    ended = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[NOTIFY_TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(after_=now - LOOK_BACK),  # pyright: ignore[reportArgumentType]
    )
    jobs = all_pages(client, ended)
    found: list[tuple[NotifyJob, FlowRun]] = []
    for start in range(0, len(jobs), MOST_VALUES):  # attempts of a few jobs at a time: a bound on memory
        page = jobs[start : start + MOST_VALUES]
        attempts = attempts_of(client, [run.id for run in page])
        found += [(wanted, run) for run in page for wanted in _missing(run, attempts)]
    return found


def _missing(run: FlowRun, attempts: Sequence[FlowRun]) -> list[NotifyJob]:
    missing: list[NotifyJob] = []
    for event in due_events(run):
        tags = {job_tag(run.id), event_tag(event)}
        number = next_number([attempt for attempt in attempts if tags <= set(attempt.tags)])
        if number is not None:
            missing.append(NotifyJob(run=run.id, event=event, attempt=number))
    return missing


def next_number(attempts: Sequence[FlowRun]) -> int | None:
    """
    Say which attempt at a message is missing; None when all is as it should be.

    Args:
        attempts: all there are at it.
    """
    chain = [run for run in attempts if REPLAY not in run.tags or DELIVERED in run.tags]
    if any(SETTLED & set(run.tags) or run.state_type not in TERMINAL_STATES for run in chain):
        return None
    last = max(chain, key=attempt_of, default=None)
    if last is None:
        return 1
    if last.state_type == StateType.CANCELLED:
        return None  # somebody wants no more of it
    return attempt_of(last) + 1 if attempt_of(last) < len(DELAYS_S) else None


def attempt_of(run: FlowRun) -> int:
    """Return the number of an attempt; 0 for a run that somebody made by hand without one."""
    parameters: Any = run.parameters.get("job") or {}
    return int(parameters.get("attempt") or 0)


def all_pages(
    client: "SyncPrefectClient", wanted: FlowRunFilter, flow: FlowFilter | None = None
) -> list[FlowRun]:
    """
    Read all runs that fit, however many.

    Args:
        client: of the server.
        wanted: what fits.
        flow:   of which flows; None: of any.
    """
    found: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_filter=flow,
        flow_run_filter=wanted,
        sort=FlowRunSort.ID_DESC,
        limit=PAGE,
        offset=len(found),
    ):
        found += page
        if len(page) < PAGE:
            break
    return found


def notify_of(run: FlowRun) -> Notify | None:
    """Return whom to tell of a run."""
    return read_control(run.parameters).notify
