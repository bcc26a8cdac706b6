"""
Webhook deliveries on Prefect's server: each attempt is a flow run of `notify`.

Any observer of a due webhook event may call `enqueue_webhooks`. The idempotency key of an attempt makes this
safe for any number of callers, at any time and after any crash.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from prefect.client.schemas.filters import (
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
from prefect.states import Pending, Scheduled

from flows.prefect_state.artifacts import read_latest_artifacts
from flows.prefect_state.labels import HOUSEKEEPING_TAG
from flows.prefect_state.queries import MAX_FILTER_VALUES, chunks_of, due_since, read_by_key
from flows.prefect_state.status import (
    PROGRESS_KEY,
    RESULT_KEYS,
    client_mark,
    ended_as,
    error_of,
    read_progress,
    result_of,
    status_of,
)
from flows.registry import INTERNAL_FLOWS
from flows.schemas.control import NOTIFY_TAG, Control, Event, Notify, read_control
from flows.schemas.webhook import (
    DELIVERED,
    FINAL_OUTCOME_TAGS,
    RECEIVER_TAG_PREFIX,
    REPLAY,
    NotifyJob,
    event_tag,
    job_tag,
)
from flows.webhooks.payload import JobSnapshot
from tasks.run.tenancy import TENANT_TAG
from tasks.tracing.traceparent import TRACE_LABEL, trace_labels
from tasks.webhooks.retry_schedule import DELAYS_S

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

MISSED_SEARCH_PERIOD: Final = timedelta(days=4)
"""How far back missed webhooks are searched; slightly longer than the retry schedule."""
WEBHOOK_TAGS: Final = (HOUSEKEEPING_TAG, "webhook")
"""Tags of the runs of `announce` and `notify`, from their deployments in `prefect.yaml`."""
FAILURE_GRACE_S: Final = 3.0
"""Delay of a `failed` webhook in seconds: the run may be restarted, or turn out to have been stopped."""

_EVENT_BY_END_STATE: Final[dict[StateType, Event]] = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "failed",
    StateType.CANCELLED: "canceled",
}


def events_so_far(run: FlowRun) -> list[Event]:
    """
    Return the webhook events of a run that have occurred so far, in order.

    Args:
        run: flow run as read from the server.
    """
    # a run that was canceled before it started has a start time, but a run count of 0
    started: list[Event] = ["started"] if run.run_count > 0 else []
    end_event = _EVENT_BY_END_STATE.get(run.state_type) if run.state_type else None
    return [*started, end_event] if end_event else started


def due_events(run: FlowRun) -> list[Event]:
    """Return the events that have occurred and that the job's webhook subscribes to."""
    notify = read_control(run.parameters).notify
    return [event for event in events_so_far(run) if event in notify.events] if notify else []


def enqueue_webhooks(client: "SyncPrefectClient", run: FlowRun) -> list[str]:
    """
    Create the first delivery attempt for each due event of a run.

    Args:
        client: client of the Prefect server.
        run:    flow run of the job.

    Returns:
        Webhook ids, including those that were created earlier.
    """
    webhook_ids: list[str] = []
    for event in due_events(run):
        job = NotifyJob(run=run.id, event=event)
        create_attempt(client, job, first_attempt_at(event), run)
        webhook_ids.append(job.webhook_id)
    return webhook_ids


def first_attempt_at(event: Event) -> datetime:
    """Return the time of the first attempt for an event."""
    return datetime.now(UTC) + timedelta(seconds=FAILURE_GRACE_S if event == "failed" else 0)


def tenant_of(run: FlowRun) -> str | None:
    """Return the tenant of a run; tenants' deliveries take turns, so a slow receiver delays its own only."""
    return read_control(run.parameters).tenant


def receiver_tag(run: FlowRun) -> str | None:
    """Return the tag of all delivery attempts for the receiver of a job's webhook; None if it has none."""
    webhook = webhook_of(run)
    return f"{RECEIVER_TAG_PREFIX}{urlsplit(webhook.url).netloc.lower()}" if webhook else None


def attempt_tags(job: NotifyJob, owner: FlowRun) -> list[str]:
    """
    Return the tags of a delivery attempt, beside those of its deployment.

    Args:
        job:   the attempt.
        owner: flow run of the job.
    """
    tenant, receiver = tenant_of(owner), receiver_tag(owner)
    return [*job.tags, *([receiver] if receiver else []), *([f"{TENANT_TAG}{tenant}"] if tenant else [])]


@dataclass(frozen=True, slots=True)
class AttemptClaim:
    """
    The claim of a worker that creates an attempt and makes it at once.

    Attributes:
        message:    message of the state `Pending` with which a worker claims a run.
        labels:     labels of a run that it has claimed.
        deployment: id of the deployment of `notify`.
    """

    message: str
    labels: Mapping[str, str]
    deployment: UUID


def create_attempt(
    client: "SyncPrefectClient",
    job: NotifyJob,
    scheduled_time: datetime,
    owner: FlowRun,
    claim: AttemptClaim | None = None,
) -> FlowRun:
    """
    Create the flow run of a delivery attempt, or return the existing one.

    Args:
        client:         client of the Prefect server.
        job:            the attempt.
        scheduled_time: scheduled start.
        owner:          flow run of the job; the attempt has its tenant and belongs to its trace.
        claim:          the worker that claims a new run as it creates it; None: the run is queued. The
            message of the returned run's state tells whether the claim holds.
    """
    tenant = tenant_of(owner)
    if claim is None:
        deployment = client.read_deployment_by_name(INTERNAL_FLOWS["notify"].deployment).id
    else:
        deployment = claim.deployment
    control_parameters = (
        {"control": Control(tenant=tenant).model_dump(mode="json", exclude_defaults=True)} if tenant else {}
    )
    return client.create_flow_run_from_deployment(
        deployment,
        parameters={"job": job.model_dump(mode="json")} | control_parameters,
        state=Pending(message=claim.message) if claim else Scheduled(scheduled_time=scheduled_time),
        name=job.run_name,
        idempotency_key=job.idempotency_key,
        tags=attempt_tags(job, owner),
        labels={**trace_labels(owner.labels.get(TRACE_LABEL)), **(claim.labels if claim else {})},
    )


def read_job_snapshot(
    client: "SyncPrefectClient", run: FlowRun, flow_names: dict[UUID, str] | None = None
) -> JobSnapshot:
    """
    Read the state of a job for its webhook.

    Args:
        client:     client of the Prefect server.
        run:        flow run of the job.
        flow_names: known names of flows by id; a name that is read is added.
    """
    flow_names = {} if flow_names is None else flow_names
    if run.flow_id not in flow_names:
        flow_names[run.flow_id] = client.read_flow(run.flow_id).name
    artifacts = read_latest_artifacts(client, [run.id], [*RESULT_KEYS, PROGRESS_KEY], limit_s=0)
    artifact_by_key = artifacts.get(run.id, {})
    status, reason = status_of(run), ended_as(run)
    return JobSnapshot(
        id=run.id,
        type=flow_names[run.flow_id],
        status=status,
        created=run.created,
        started=run.start_time if run.run_count else None,
        ended=run.end_time,
        ended_as=reason,
        mark=client_mark(run),
        error=error_of(status, reason, artifact_by_key, run.state),
        result=result_of(status, artifact_by_key),
        progress=read_progress(artifact_by_key.get(PROGRESS_KEY)),
    )


def attempts_of(client: "SyncPrefectClient", jobs: Iterable[UUID]) -> list[FlowRun]:
    """
    Return all delivery attempts for the given jobs.

    Args:
        client: client of the Prefect server.
        jobs:   any number of job ids.
    """
    flow = FlowFilter(name=FlowFilterName(any_=["notify"]))
    found: dict[UUID, FlowRun] = {}
    for chunk in chunks_of([job_tag(job) for job in jobs]):
        tagged = FlowRunFilter(tags=FlowRunFilterTags(any_=chunk))
        found |= {run.id: run for run in read_all_runs(client, tagged, flow)}
    return list(found.values())


def is_delivered(client: "SyncPrefectClient", job: NotifyJob) -> bool:
    """Return whether a webhook has been delivered."""
    required_tags = {event_tag(job.event), DELIVERED}
    return any(required_tags <= set(run.tags) for run in attempts_of(client, [job.run]))


def find_missed(client: "SyncPrefectClient", now: datetime) -> list[tuple[NotifyJob, FlowRun]]:
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
        end_time=FlowRunFilterEndTime(after_=now - MISSED_SEARCH_PERIOD),  # pyright: ignore[reportArgumentType]
    )
    jobs = read_all_runs(client, ended)
    missing: list[tuple[NotifyJob, FlowRun]] = []
    for start in range(0, len(jobs), MAX_FILTER_VALUES):  # in groups, to limit memory
        chunk = jobs[start : start + MAX_FILTER_VALUES]
        attempts = attempts_of(client, [run.id for run in chunk])
        missing += [(wanted, run) for run in chunk for wanted in _missing_attempts(run, attempts)]
    return missing


def _missing_attempts(run: FlowRun, attempts: Sequence[FlowRun]) -> list[NotifyJob]:
    missing: list[NotifyJob] = []
    for event in due_events(run):
        tags = {job_tag(run.id), event_tag(event)}
        number = missing_attempt_number([attempt for attempt in attempts if tags <= set(attempt.tags)])
        if number is not None:
            missing.append(NotifyJob(run=run.id, event=event, attempt=number))
    return missing


def missing_attempt_number(attempts: Sequence[FlowRun]) -> int | None:
    """
    Return the number of the missing attempt; None if no attempt is missing.

    Args:
        attempts: all attempts for one webhook.
    """
    attempts_in_chain = [run for run in attempts if REPLAY not in run.tags or DELIVERED in run.tags]
    if any(
        FINAL_OUTCOME_TAGS & set(run.tags) or run.state_type not in TERMINAL_STATES
        for run in attempts_in_chain
    ):
        return None
    last = max(attempts_in_chain, key=attempt_number, default=None)
    if last is None:
        return 1
    if last.state_type == StateType.CANCELLED:
        return None  # canceled by a person: no further attempts
    return attempt_number(last) + 1 if attempt_number(last) < len(DELAYS_S) else None


def attempt_number(run: FlowRun) -> int:
    """Return the number of an attempt; 0 for a run that was started by hand without one."""
    parameters: Any = run.parameters.get("job") or {}
    return int(parameters.get("attempt") or 0)


def read_all_runs(
    client: "SyncPrefectClient", run_filter: FlowRunFilter, flow: FlowFilter | None = None
) -> list[FlowRun]:
    """
    Read all flow runs that match a filter, oldest first, while runs enter and leave the result.

    Args:
        client:     client of the Prefect server.
        run_filter: filter of the runs.
        flow:       filter of their flows; None: any flow.
    """

    def read(due_after: datetime | None, limit: int, offset: int) -> list[FlowRun]:
        return client.read_flow_runs(
            flow_filter=flow,
            flow_run_filter=due_since(run_filter, due_after),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=limit,
            offset=offset,
        )

    return read_by_key(lambda run: run.expected_start_time, read)


def webhook_of(run: FlowRun) -> Notify | None:
    """Return the webhook of a run; None if it has none."""
    return read_control(run.parameters).notify
