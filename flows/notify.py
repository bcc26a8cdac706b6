"""
The `notify` flow: one attempt to deliver one webhook.

A failed attempt schedules the next one as a new run of this flow.
"""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.webhook import (
    DEAD_LETTER,
    DELIVERED,
    DELIVERY_KEY,
    DROPPED,
    NotifyJob,
    NotifyResult,
    Outcome,
)
from flows.webhooks.deliveries import (
    create_attempt,
    events_so_far,
    is_delivered,
    read_job_snapshot,
    webhook_of,
)
from flows.webhooks.payload import build_payload
from tasks.catalog.download_links import has_link_key
from tasks.errors import DeliveryFailed
from tasks.outbound.webhook_post import AttemptResult, post_webhook
from tasks.run.counters import WEBHOOK_ATTEMPTS, WEBHOOK_DEAD_LETTERS, count
from tasks.settings import get_settings
from tasks.tracing.handle import SpanHandle
from tasks.tracing.spans import current_traceparent, span
from tasks.tracing.traceparent import TRACE_LABEL, TRACEPARENT_HEADER, TraceParent
from tasks.webhooks.retry_schedule import DELAYS_S, GONE_STATUS, next_attempt
from tasks.webhooks.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ATTEMPT_HEADER = "webhook-attempt"
"""HTTP header with the number of the attempt."""


@flow(name="notify", **FLOW_OPTIONS)
def notify(job: NotifyJob, control: Control = DEFAULT_CONTROL) -> NotifyResult:
    """
    Send the webhook once, record the response, and schedule the next attempt if it failed.

    Raises:
        DeliveryFailed: the last attempt failed (dead letter); the flow run is shown as failed.
    """
    with get_client(sync_client=True) as client:
        run, obstacle = _read_job_run(client, job)
        result = _dropped_result(job, obstacle) if run is None else _deliver(client, job, run)
        _write_delivery_artifact(result)
        count(WEBHOOK_ATTEMPTS, result.outcome)
        # create it before this run ends: at any time either this attempt is open or the next one exists
        if result.next_attempt_at is not None and run is not None:
            next_job = job.model_copy(update={"attempt": job.attempt + 1})
            create_attempt(client, next_job, result.next_attempt_at, run)
        _tag_outcome(client, job, result)
    if result.dead and job.event != "progress":
        count(WEBHOOK_DEAD_LETTERS)
        raise DeliveryFailed(f"Dead letter: delivery of {result.webhook_id} failed for good. {result.reason}")
    return result


def _read_job_run(client: "SyncPrefectClient", job: NotifyJob) -> tuple[FlowRun | None, str]:
    """Return the flow run of the job, or the reason why the webhook is no longer due."""
    try:
        run = client.read_flow_run(job.run)
    except ObjectNotFound:
        return None, "The job was deleted."
    if webhook_of(run) is None:
        return None, "The job has no webhook."
    if job.event == "progress":
        if run.state_type is None or run.state_type.value != "RUNNING":
            return None, "The job is no longer running; the webhook for its end replaces this one."
    elif job.event not in events_so_far(run):
        return None, f"The job is no longer {job.event}: it was started again, or stopped."
    if not job.replay and job.event != "progress" and is_delivered(client, job):
        return None, "The webhook has already been delivered."
    return run, ""


def _dropped_result(job: NotifyJob, reason: str) -> NotifyResult:
    return NotifyResult(**_identity_fields(job), outcome="dropped", reason=reason)


def _identity_fields(job: NotifyJob) -> dict[str, Any]:
    return {
        "webhook_id": job.webhook_id,
        "job": job.run,
        "event": job.event,
        "attempt": job.attempt,
        "replay": job.replay,
    }


def _deliver(client: "SyncPrefectClient", job: NotifyJob, run: FlowRun) -> NotifyResult:
    settings, webhook = get_settings(), webhook_of(run)
    signed_links = webhook is not None and webhook.signed_links
    if signed_links and not has_link_key():
        get_run_logger().warning(
            "result_url is not signed: set MUSETALK_API__LINK_SECRETS for the API and this worker."
        )
        signed_links = False
    snapshot = read_job_snapshot(client, run)
    body = build_payload(job.event, snapshot, settings.api.public_url, signed_links=signed_links)
    now = datetime.now(UTC)
    headers = _headers(job, now, body)
    url = webhook.url if webhook else ""
    with _webhook_span(job, run) as traced:
        if traced.parent_of_others is not None:
            headers[TRACEPARENT_HEADER] = str(traced.parent_of_others)
        response = post_webhook(url, body, headers, settings.egress, settings.webhook.timeout_s)
        traced.set({"webhook.outcome": _outcome_of(response), "http.status_code": response.response.status})
    return _delivery_result(job, now, body, response)


def _webhook_span(job: NotifyJob, run: FlowRun) -> AbstractContextManager[SpanHandle]:
    """
    Return the span of the request, in the trace of the job.

    An automation creates the runs for progress events and knows no trace: the span is linked with theirs.
    """
    own, of_job = current_traceparent(), TraceParent.parse(run.labels.get(TRACE_LABEL))
    is_elsewhere = of_job is not None and (own is None or own.trace_id != of_job.trace_id)
    return span(
        "webhook",
        {"webhook.event": job.event, "webhook.attempt": job.attempt},
        kind="client",
        parent=of_job if is_elsewhere else None,
        link=own if is_elsewhere else None,
    )


def _headers(job: NotifyJob, now: datetime, body: bytes) -> dict[str, str]:
    stamp = int(now.timestamp())
    headers = {ID_HEADER: job.webhook_id, TIMESTAMP_HEADER: str(stamp), ATTEMPT_HEADER: str(job.attempt)}
    secrets = [secret.get_secret_value() for secret in get_settings().webhook.secrets]
    if not secrets:
        get_run_logger().warning("The webhook is not signed: MUSETALK_WEBHOOK__SECRETS is not set.")
        return headers
    return headers | {SIGNATURE_HEADER: sign(secrets, job.webhook_id, stamp, body)}


def _delivery_result(job: NotifyJob, sent_at: datetime, body: bytes, response: AttemptResult) -> NotifyResult:
    status = response.response
    retry_at = None
    # progress is not retried: the next progress event is newer; neither is an address that is not allowed
    if not (status.is_success or response.is_blocked or job.replay or job.event == "progress"):
        retry_at = next_attempt(job.attempt, status, datetime.now(UTC))
    return NotifyResult(
        **_identity_fields(job),
        outcome=_outcome_of(response),
        sent_at=sent_at,
        status_code=status.status,
        signatures=len(get_settings().webhook.secrets),
        next_attempt_at=retry_at,
        dead=not status.is_success and retry_at is None,
        reason=None if status.is_success else _failure_reason(job, response),
        sent=body.decode(),
        answer=response.body or None,
    )


def _outcome_of(response: AttemptResult) -> Outcome:
    if response.is_blocked:
        return "blocked"
    if response.response.status is None:
        return "unreachable"
    if response.response.is_success:
        return "delivered"
    return "gone" if response.response.status == GONE_STATUS else "refused"


def _failure_reason(job: NotifyJob, response: AttemptResult) -> str:
    status = response.response.status
    message = response.failure or f"The receiver returned status {status}."
    if response.is_blocked or job.replay or status == GONE_STATUS or job.event == "progress":
        return message
    return f"{message} Attempt {job.attempt} of {len(DELAYS_S)}."


def _write_delivery_artifact(result: NotifyResult) -> None:
    """Store the request and the response as an artifact for the API and for Prefect's pages."""
    data: Any = result.model_dump(mode="json")
    artifact: Any = Artifact(type="json", key=DELIVERY_KEY, data=data, description=result.reason)
    artifact.create()


def _tag_outcome(client: "SyncPrefectClient", job: NotifyJob, result: NotifyResult) -> None:
    """
    Tag this run with its outcome, for filtering; a failed attempt with a successor gets no tag.

    Runs for progress events are created by an automation and do not have the tags of an attempt yet.
    """
    tag_by_outcome = {"delivered": DELIVERED, "dropped": DROPPED}
    outcome_tag = DEAD_LETTER if result.dead else tag_by_outcome.get(result.outcome)
    if outcome_tag is not None:
        attempt_tags = job.tags if job.event == "progress" else []
        client.update_flow_run(UUID(str(flow_run.id)), tags={*flow_run.tags, *attempt_tags, outcome_tag})
