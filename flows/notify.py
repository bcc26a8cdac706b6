"""
The `notify` flow: one attempt to deliver one webhook.

A failed attempt schedules the next one as a new run of this flow.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from flows.control import USUAL, Control
from flows.options import JOB
from flows.webhook_body import body_of
from flows.webhook_runs import happened, is_delivered, make_attempt, notify_of, read_told, tenant_of
from flows.webhook_schemas import DEAD, DELIVERED, DELIVERY, DROPPED, NotifyJob, NotifyResult, Outcome
from tasks.errors import DeliveryFailed
from tasks.settings import get_settings
from tasks.webhook_post import Answer, post
from tasks.webhook_schedule import DELAYS_S, GONE, next_attempt
from tasks.webhook_signature import ID, SIGNATURE, TIMESTAMP, sign

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ATTEMPT = "webhook-attempt"
"""HTTP header with the number of the attempt."""


@flow(name="notify", **JOB)
def notify(job: NotifyJob, control: Control = USUAL) -> NotifyResult:
    """
    Send the webhook once, record the response, and schedule the next attempt if it failed.

    Raises:
        DeliveryFailed: the last attempt failed (dead letter); the flow run is shown as failed.
    """
    with get_client(sync_client=True) as client:
        run, obstacle = _look(client, job)
        result = _dropped(job, obstacle) if run is None else _deliver(client, job, run)
        _note(result)
        # create it before this run ends: at any time either this attempt is open or the next one exists
        if result.next_attempt_at is not None and run is not None:
            later = job.model_copy(update={"attempt": job.attempt + 1})
            make_attempt(client, later, result.next_attempt_at, tenant_of(run))
        _mark(client, job, result)
    if result.dead and job.event != "progress":
        raise DeliveryFailed(f"Dead letter: delivery of {result.webhook_id} failed for good. {result.reason}")
    return result


def _look(client: "SyncPrefectClient", job: NotifyJob) -> tuple[FlowRun | None, str]:
    """Return the flow run of the job, or the reason why the webhook is no longer due."""
    try:
        run = client.read_flow_run(job.run)
    except ObjectNotFound:
        return None, "The job was deleted."
    if notify_of(run) is None:
        return None, "The job has no webhook."
    if job.event == "progress":
        if run.state_type is None or run.state_type.value != "RUNNING":
            return None, "The job is no longer running; the webhook for its end replaces this one."
    elif job.event not in happened(run):
        return None, f"The job is no longer {job.event}: it was started again, or stopped."
    if not job.replay and job.event != "progress" and is_delivered(client, job):
        return None, "The webhook has already been delivered."
    return run, ""


def _dropped(job: NotifyJob, reason: str) -> NotifyResult:
    return NotifyResult(**_names(job), outcome="dropped", reason=reason)


def _names(job: NotifyJob) -> dict[str, Any]:
    return {
        "webhook_id": job.webhook_id,
        "job": job.run,
        "event": job.event,
        "attempt": job.attempt,
        "replay": job.replay,
    }


def _deliver(client: "SyncPrefectClient", job: NotifyJob, run: FlowRun) -> NotifyResult:
    settings, whom = get_settings(), notify_of(run)
    body = body_of(job.event, read_told(client, run), settings.api.public_url)
    now = datetime.now(UTC)
    headers = _headers(job, now, body)
    url = whom.url if whom else ""
    answer = post(url, body, headers, settings.egress, settings.webhook.timeout_s)
    return _told(job, now, body, answer)


def _headers(job: NotifyJob, now: datetime, body: bytes) -> dict[str, str]:
    stamp = int(now.timestamp())
    headers = {ID: job.webhook_id, TIMESTAMP: str(stamp), ATTEMPT: str(job.attempt)}
    secrets = [secret.get_secret_value() for secret in get_settings().webhook.secrets]
    if not secrets:
        get_run_logger().warning("The webhook is not signed: MUSETALK_WEBHOOK__SECRETS is not set.")
        return headers
    return headers | {SIGNATURE: sign(secrets, job.webhook_id, stamp, body)}


def _told(job: NotifyJob, sent_at: datetime, body: bytes, answer: Answer) -> NotifyResult:
    answered = answer.answered
    again = None
    # progress is not retried: the next progress event is newer
    if not answered.is_success and not job.replay and job.event != "progress":
        again = next_attempt(job.attempt, answered, datetime.now(UTC))
    return NotifyResult(
        **_names(job),
        outcome=_outcome(answer),
        sent_at=sent_at,
        status_code=answered.status,
        signatures=len(get_settings().webhook.secrets),
        next_attempt_at=again,
        dead=not answered.is_success and again is None,
        reason=None if answered.is_success else _reason(job, answer),
        sent=body.decode(),
        answer=answer.body or None,
    )


def _outcome(answer: Answer) -> Outcome:
    if answer.answered.status is None:
        return "unreachable"
    if answer.answered.is_success:
        return "delivered"
    return "gone" if answer.answered.status == GONE else "refused"


def _reason(job: NotifyJob, answer: Answer) -> str:
    status = answer.answered.status
    told = answer.trouble or f"The receiver returned status {status}."
    if job.replay or status == GONE or job.event == "progress":
        return told
    return f"{told} Attempt {job.attempt} of {len(DELAYS_S)}."


def _note(result: NotifyResult) -> None:
    """Store the request and the response as an artifact for the API and for Prefect's pages."""
    data: Any = result.model_dump(mode="json")
    made: Any = Artifact(type="json", key=DELIVERY, data=data, description=result.reason)
    made.create()


def _mark(client: "SyncPrefectClient", job: NotifyJob, result: NotifyResult) -> None:
    """
    Tag this run with its outcome, for filtering; a failed attempt with a successor gets no tag.

    Runs for progress events are created by an automation and do not have the tags of an attempt yet.
    """
    words = {"delivered": DELIVERED, "dropped": DROPPED}
    word = DEAD if result.dead else words.get(result.outcome)
    if word is not None:
        own = job.tags if job.event == "progress" else []
        client.update_flow_run(UUID(str(flow_run.id)), tags={*flow_run.tags, *own, word})
