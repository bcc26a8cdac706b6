"""
Webhook deliveries on Prefect's server: each attempt is a flow run of `notify`.

Any observer of a due webhook event may call `enqueue_webhooks`. The idempotency key of an attempt makes this
safe for any number of callers, at any time and after any crash.
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
"""How far back missed webhooks are searched; slightly longer than the retry schedule."""
SETTLE_S: Final = 3.0
"""Delay of a `failed` webhook in seconds: the run may be restarted, or turn out to have been stopped."""

_ENDS: Final[dict[StateType, Event]] = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "failed",
    StateType.CANCELLED: "canceled",
}


def happened(run: FlowRun) -> list[Event]:
    """
    Return the webhook events of a run that have occurred so far, in order.

    Args:
        run: flow run as read from the server.
    """
    # a run that was canceled before it started has a start time, but a run count of 0
    began: list[Event] = ["started"] if run.run_count > 0 else []
    end = _ENDS.get(run.state_type) if run.state_type else None
    return [*began, end] if end else began


def due_events(run: FlowRun) -> list[Event]:
    """Return the events that have occurred and that the job's webhook subscribes to."""
    notify = read_control(run.parameters).notify
    return [event for event in happened(run) if event in notify.events] if notify else []


def announce_run(client: "SyncPrefectClient", run: FlowRun) -> list[str]:
    """
    Create the first delivery attempt for each due event of a run.

    Args:
        client: client of the Prefect server.
        run:    flow run of the job.

    Returns:
        Webhook ids, including those that were created earlier.
    """
    told: list[str] = []
    for event in due_events(run):
        job = NotifyJob(run=run.id, event=event)
        make_attempt(client, job, first_due(event), tenant_of(run))
        told.append(job.webhook_id)
    return told


def first_due(event: Event) -> datetime:
    """Return the time of the first attempt for an event."""
    return datetime.now(UTC) + timedelta(seconds=SETTLE_S if event == "failed" else 0)


def tenant_of(run: FlowRun) -> str | None:
    """Return the tenant of a run; tenants' deliveries take turns, so a slow receiver delays its own only."""
    return read_control(run.parameters).tenant


def make_attempt(client: "SyncPrefectClient", job: NotifyJob, due: datetime, tenant: str | None) -> FlowRun:
    """
    Create the flow run of a delivery attempt, or return the existing one.

    Args:
        client:         client of the Prefect server.
        job:            the attempt.
        scheduled_time: scheduled start.
        tenant:         tenant of the job.
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
    Read the state of a job for its webhook.

    Args:
        client: client of the Prefect server.
        run:    flow run of the job.
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
    Return all delivery attempts for the given jobs.

    Args:
        client: client of the Prefect server.
        jobs:   any number of job ids.
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
    """Return whether a webhook has been delivered."""
    wanted = {event_tag(job.event), DELIVERED}
    return any(wanted <= set(run.tags) for run in attempts_of(client, [job.run]))


def missed(client: "SyncPrefectClient", now: datetime) -> list[tuple[NotifyJob, FlowRun]]:
    """
    Find webhooks that were never enqueued, or whose retries stopped between two attempts.

    Args:
        client: client of the Prefect server.
        now:    current time; jobs that ended within `MISSED_SEARCH_PERIOD` before it are checked.

    Returns:
        The missing attempts, each with the flow run of its job.
    """
    ended = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[NOTIFY_TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(after_=now - LOOK_BACK),  # pyright: ignore[reportArgumentType]
    )
    jobs = all_pages(client, ended)
    found: list[tuple[NotifyJob, FlowRun]] = []
    for start in range(0, len(jobs), MOST_VALUES):  # in groups, to limit memory
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
    Return the number of the missing attempt; None if no attempt is missing.

    Args:
        attempts: all attempts for one webhook.
    """
    chain = [run for run in attempts if REPLAY not in run.tags or DELIVERED in run.tags]
    if any(SETTLED & set(run.tags) or run.state_type not in TERMINAL_STATES for run in chain):
        return None
    last = max(chain, key=attempt_of, default=None)
    if last is None:
        return 1
    if last.state_type == StateType.CANCELLED:
        return None  # canceled by a person: no further attempts
    return attempt_of(last) + 1 if attempt_of(last) < len(DELAYS_S) else None


def attempt_of(run: FlowRun) -> int:
    """Return the number of an attempt; 0 for a run that was started by hand without one."""
    parameters: Any = run.parameters.get("job") or {}
    return int(parameters.get("attempt") or 0)


def all_pages(
    client: "SyncPrefectClient", wanted: FlowRunFilter, flow: FlowFilter | None = None
) -> list[FlowRun]:
    """
    Read all flow runs that match a filter, page by page.

    Args:
        client:     client of the Prefect server.
        run_filter: filter of the runs.
        flow:       filter of their flows; None: any flow.
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
    """Return the webhook of a run; None if it has none."""
    return read_control(run.parameters).notify
