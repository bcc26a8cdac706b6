"""Routes for the webhook deliveries of a job: attempts, their outcomes, and replay."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from api.auth.api_keys import READ, SUBMIT
from api.dependencies import DeliveriesDep, JobsDep
from api.orchestrator.webhooks import Attempt, Delivery
from flows.schemas.control import Event

router = APIRouter(prefix="/v1/jobs", tags=["webhook deliveries"])

WebhookId = Annotated[str, Path(max_length=128, description="Value of the header webhook-id.")]


class AttemptView(BaseModel):
    """An attempt to deliver a webhook."""

    attempt: int = Field(description="Number of the attempt from 1, as in the header webhook-attempt.")
    due_at: datetime | None
    sent_at: datetime | None = Field(description="Null if no request was sent (yet).")
    status_code: int | None = Field(description="HTTP status of the receiver; null without a response.")
    outcome: str = Field(
        description="delivered, refused, unreachable, gone, blocked (the address is not allowed),"
        " dropped (the event no longer applies), scheduled, running, canceled or crashed."
    )
    reason: str | None
    replay: bool


class DeliveryView(BaseModel):
    """A webhook message about a job and its delivery attempts."""

    webhook_id: str
    event: Event
    delivered: bool
    dead: bool = Field(
        description="Dead letter: the receiver answered 410 Gone, its address is not allowed, or ten attempts"
        " failed."
    )
    next_attempt_at: datetime | None
    attempts: list[AttemptView]


class DeliveriesView(BaseModel):
    """All webhook deliveries of a job."""

    deliveries: list[DeliveryView]


class ReplayView(BaseModel):
    """The attempt that a replay has scheduled."""

    webhook_id: str
    attempt: AttemptView


@router.get("/{job_id}/deliveries", dependencies=[READ])
async def read_deliveries(jobs: JobsDep, deliveries: DeliveriesDep, job_id: UUID) -> DeliveriesView:
    """List a job's webhook deliveries with all attempts. Response bodies are shown only in Prefect's UI."""
    await jobs.read(job_id)
    return DeliveriesView(
        deliveries=[_delivery_view(found) for found in await deliveries.list_for_job(job_id)]
    )


@router.post("/{job_id}/deliveries/{webhook_id}/replay", status_code=202, dependencies=[SUBMIT])
async def replay_delivery(
    jobs: JobsDep, deliveries: DeliveriesDep, job_id: UUID, webhook_id: WebhookId
) -> ReplayView:
    """Send a webhook again under the same id, whether or not it was delivered before."""
    await jobs.read(job_id)
    attempt = await deliveries.replay(job_id, webhook_id)
    return ReplayView(webhook_id=webhook_id, attempt=_attempt_view(attempt))


def _delivery_view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        webhook_id=delivery.webhook_id,
        event=delivery.event,
        delivered=delivery.delivered,
        dead=delivery.dead,
        next_attempt_at=delivery.next_attempt,
        attempts=[_attempt_view(attempt) for attempt in delivery.attempts],
    )


def _attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        attempt=attempt.number,
        due_at=attempt.due,
        sent_at=attempt.sent,
        status_code=attempt.status_code,
        outcome=attempt.outcome,
        reason=attempt.reason,
        replay=attempt.replay,
    )
