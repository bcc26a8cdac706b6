"""Webhook schemas, ids and tags, and the parameters of the flows that deliver them. Pure pydantic."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, Field

from flows.schemas.base import JobParameters
from flows.schemas.control import Event

DELIVERY_KEY: Final = "delivery"
"""Key of the artifact that records the request and the response of an attempt."""

DELIVERED: Final = "delivered"
"""Tag of an attempt that the receiver accepted."""
DEAD_LETTER: Final = "dead"
"""Tag of the last failed attempt (dead letter)."""
DROPPED: Final = "dropped"
"""Tag of an attempt that was no longer due."""
FINAL_OUTCOME_TAGS: Final = frozenset({DELIVERED, DEAD_LETTER, DROPPED})
"""Tags of attempts that are not followed by another one."""
REPLAY: Final = "replay"
"""Tag of a redelivery that a person requested."""
JOB_TAG_PREFIX: Final = "job:"
"""Prefix of the tag with the job id on delivery attempts."""
RECEIVER_TAG_PREFIX: Final = "receiver:"
"""Prefix of the tag with the host and port of the receiver on delivery attempts."""

Outcome = Literal["delivered", "refused", "unreachable", "blocked", "gone", "dropped"]
"""Outcome of an attempt. `blocked`: the egress rules deny the address, so nothing was sent; not retried."""


def job_tag(job: UUID) -> str:
    """Return the tag of all delivery attempts for a job."""
    return f"{JOB_TAG_PREFIX}{job}"


def event_tag(event: Event) -> str:
    """Return the tag of all delivery attempts for an event."""
    return f"event:{event}"


def webhook_id(job: UUID, event: Event, number: int = 0) -> str:
    """
    Return the id of a webhook, which is the same for all its attempts.

    Args:
        job:    job id.
        event:  webhook event.
        number: number of the webhook if the event occurs several times; 0 otherwise.
    """
    event_name = f"{event}.{number}" if number else event
    return f"msg_{uuid5(job, f'musetalk.webhook.{event_name}').hex}"


class AnnounceJob(JobParameters):
    """Enqueue the due webhooks of a job."""

    run: UUID = Field(
        title="Job", description="Flow run id of the job.", examples=["6f1c2f9e-3f0e-4c07-8a6f-4a4c5f3f8f55"]
    )


class AnnounceResult(BaseModel):
    """The enqueued webhooks."""

    webhooks: list[str] = Field(description="Webhook ids, including those that were enqueued earlier.")


class NotifyJob(JobParameters):
    """One attempt to deliver one webhook."""

    run: UUID = Field(
        title="Job", description="Flow run id of the job.", examples=["6f1c2f9e-3f0e-4c07-8a6f-4a4c5f3f8f55"]
    )
    event: Event = Field(title="Event", description="Webhook event.")
    attempt: int = Field(
        default=1,
        ge=1,
        le=100_000,
        title="Attempt",
        description="Number of the attempt, from 1.",
        examples=[1],
    )
    number: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        title="Number",
        description="Number of a progress webhook, from 1; 0 for other events.",
        examples=[1],
    )
    replay: bool = Field(
        default=False,
        title="Replay",
        description="Redelivery requested by a person: sent even if it was delivered before, and"
        " not retried.",
    )

    @property
    def webhook_id(self) -> str:
        """Webhook id."""
        return webhook_id(self.run, self.event, self.number)

    @property
    def idempotency_key(self) -> str:
        """Idempotency key of the attempt's flow run: it is created once, however many callers request it."""
        return f"{self.webhook_id}:{'replay-' if self.replay else ''}{self.attempt}"

    @property
    def tags(self) -> list[str]:
        """Tags of the attempt's flow run."""
        return [job_tag(self.run), event_tag(self.event), *([REPLAY] if self.replay else [])]

    @property
    def run_name(self) -> str:
        """Name of the attempt's flow run in Prefect's pages."""
        return f"{self.event} {str(self.run)[:8]} {'replay' if self.replay else 'attempt'} {self.attempt}"


class NotifyResult(BaseModel):
    """The outcome of a delivery attempt; also the content of its `delivery` artifact."""

    webhook_id: str
    job: UUID
    event: Event
    attempt: int
    replay: bool = False
    outcome: Outcome
    sent_at: datetime | None = Field(default=None, description="Time of the request; null if none was sent.")
    status_code: int | None = None
    signatures: int = Field(default=0, description="Number of signatures, one per secret; 0 if unsigned.")
    next_attempt_at: datetime | None = None
    dead: bool = Field(
        default=False, description="Whether this was the last attempt and it failed (dead letter)."
    )
    reason: str | None = Field(default=None, description="Reason why it was not delivered.")
    sent: str | None = Field(default=None, description="Payload.")
    answer: str | None = Field(default=None, description="First 4 kB of the response.")
