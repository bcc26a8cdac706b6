"""
One attempt to deliver a webhook: send it, then record the response and create the next attempt.

Used by the flow `notify`, and by workers that make attempts without starting it.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

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
from tasks.tracing.spans import span
from tasks.tracing.traceparent import TRACE_LABEL, TRACEPARENT_HEADER, TraceParent
from tasks.webhooks.retry_schedule import DELAYS_S, GONE_STATUS, next_attempt
from tasks.webhooks.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ATTEMPT_HEADER = "webhook-attempt"
"""HTTP header with the number of the attempt."""


@dataclass(frozen=True, slots=True)
class AttemptRun:
    """
    The flow run of an attempt.

    Attributes:
        id:         its id.
        tags:       its tags.
        warn:       writes a warning to its log.
        trace:      span in which the attempt is made; None without tracing.
        flow_names: known names of flows by id; names that are read are added.
    """

    id: UUID
    tags: tuple[str, ...]
    warn: Callable[[str], object]
    trace: TraceParent | None = None
    flow_names: dict[UUID, str] = field(default_factory=dict[UUID, str])


@dataclass(frozen=True, slots=True)
class SentWebhook:
    """The result of an attempt, and the flow run of the job; None if the webhook was no longer due."""

    result: NotifyResult
    owner: FlowRun | None


def send(
    client: "SyncPrefectClient", job: NotifyJob, attempt: AttemptRun, owner: FlowRun | None = None
) -> SentWebhook:
    """
    Send a webhook once, unless it is no longer due.

    Args:
        client:  client of the Prefect server.
        job:     the attempt.
        attempt: its flow run.
        owner:   flow run of the job, if the caller has just created the first attempt because of its state;
            None: it is read, and the webhook is sent only if it is still due.

    Returns:
        The result, of which the server knows nothing before `record`. Failures of the receiver raise nothing.
    """
    obstacle = ""
    if owner is None:
        owner, obstacle = _read_owner(client, job)
    if owner is None:
        return SentWebhook(_dropped_result(job, obstacle), None)
    result = _deliver(client, job, attempt, owner)
    if result.next_attempt_at is not None and is_delivered(client, job):
        # an attempt whose worker was lost may be made again while its successor waits for the receiver
        result = result.model_copy(update={"next_attempt_at": None})
    return SentWebhook(result, owner)


def record(client: "SyncPrefectClient", job: NotifyJob, attempt: AttemptRun, sent: SentWebhook) -> None:
    """
    Store the result of an attempt as an artifact, create the next attempt if it failed, and tag its flow run.

    The flow run of the attempt may end after this, and not before: at any time either it has not ended or the
    next attempt exists.

    Args:
        client:  client of the Prefect server.
        job:     the attempt.
        attempt: its flow run.
        sent:    its result.
    """
    result = sent.result
    _create_delivery_artifact(client, attempt, result)
    count(WEBHOOK_ATTEMPTS, result.outcome)
    if result.next_attempt_at is not None and sent.owner is not None:
        next_job = job.model_copy(update={"attempt": job.attempt + 1})
        create_attempt(client, next_job, result.next_attempt_at, sent.owner)
    _tag_outcome(client, job, attempt, result)


def raise_if_dead(job: NotifyJob, result: NotifyResult) -> None:
    """
    Count a dead letter, and end its attempt as failed; do nothing for other results.

    Raises:
        DeliveryFailed: the last attempt failed (dead letter).
    """
    if result.dead and job.event != "progress":
        count(WEBHOOK_DEAD_LETTERS)
        raise DeliveryFailed(f"Dead letter: delivery of {result.webhook_id} failed for good. {result.reason}")


def _read_owner(client: "SyncPrefectClient", job: NotifyJob) -> tuple[FlowRun | None, str]:
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


def _deliver(client: "SyncPrefectClient", job: NotifyJob, attempt: AttemptRun, run: FlowRun) -> NotifyResult:
    settings, webhook = get_settings(), webhook_of(run)
    signed_links = webhook is not None and webhook.signed_links
    if signed_links and not has_link_key():
        attempt.warn("result_url is not signed: set MUSETALK_API__LINK_SECRETS for the API and this worker.")
        signed_links = False
    snapshot = read_job_snapshot(client, run, attempt.flow_names)
    body = build_payload(job.event, snapshot, settings.api.public_url, signed_links=signed_links)
    now = datetime.now(UTC)
    headers = _headers(job, attempt, now, body)
    url = webhook.url if webhook else ""
    with _webhook_span(job, attempt.trace, run) as traced:
        if traced.parent_of_others is not None:
            headers[TRACEPARENT_HEADER] = str(traced.parent_of_others)
        response = post_webhook(url, body, headers, settings.egress, settings.webhook.timeout_s)
        traced.set({"webhook.outcome": _outcome_of(response), "http.status_code": response.response.status})
    return _delivery_result(job, now, body, response)


def _webhook_span(
    job: NotifyJob, own: TraceParent | None, run: FlowRun
) -> AbstractContextManager[SpanHandle]:
    """
    Return the span of the request, in the trace of the job.

    An automation creates the runs for progress events and knows no trace: the span is linked with theirs.
    """
    of_job = TraceParent.parse(run.labels.get(TRACE_LABEL))
    is_elsewhere = of_job is not None and (own is None or own.trace_id != of_job.trace_id)
    return span(
        "webhook",
        {"webhook.event": job.event, "webhook.attempt": job.attempt},
        kind="client",
        parent=of_job if is_elsewhere else own,
        link=own if is_elsewhere else None,
    )


def _headers(job: NotifyJob, attempt: AttemptRun, now: datetime, body: bytes) -> dict[str, str]:
    stamp = int(now.timestamp())
    headers = {ID_HEADER: job.webhook_id, TIMESTAMP_HEADER: str(stamp), ATTEMPT_HEADER: str(job.attempt)}
    secrets = [secret.get_secret_value() for secret in get_settings().webhook.secrets]
    if not secrets:
        attempt.warn("The webhook is not signed: MUSETALK_WEBHOOK__SECRETS is not set.")
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


def _create_delivery_artifact(client: "SyncPrefectClient", attempt: AttemptRun, result: NotifyResult) -> None:
    """Store the request and the response as an artifact for the API and for Prefect's pages."""
    data = json.dumps(result.model_dump(mode="json"))
    client.create_artifact(
        ArtifactCreate(
            type="json", key=DELIVERY_KEY, data=data, description=result.reason, flow_run_id=attempt.id
        )
    )


def _tag_outcome(
    client: "SyncPrefectClient", job: NotifyJob, attempt: AttemptRun, result: NotifyResult
) -> None:
    """
    Tag the run of the attempt with its outcome, for filtering; a failed attempt with a successor gets no tag.

    Runs for progress events are created by an automation and do not have the tags of an attempt yet.
    """
    tag_by_outcome = {"delivered": DELIVERED, "dropped": DROPPED}
    outcome_tag = DEAD_LETTER if result.dead else tag_by_outcome.get(result.outcome)
    if outcome_tag is not None:
        own_tags = job.tags if job.event == "progress" else []
        client.update_flow_run(attempt.id, tags=sorted({*attempt.tags, *own_tags, outcome_tag}))
