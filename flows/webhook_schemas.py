"""Shapes and names of webhooks: ids, tags, the parameters of the flows that send them. Pure pydantic."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, Field

from flows.control import Event
from flows.job import Job

DELIVERY: Final = "delivery"
"""Key of the artifact in which an attempt says what was sent and answered."""

DELIVERED: Final = "delivered"
DEAD: Final = "dead"
DROPPED: Final = "dropped"
SETTLED: Final = frozenset({DELIVERED, DEAD, DROPPED})
"""Tags of attempts after which nobody tries again."""
REPLAY: Final = "replay"
JOB_TAG: Final = "job:"
"""Before a job's id, as a tag of whatever tells of it."""

Outcome = Literal["delivered", "refused", "unreachable", "gone", "dropped"]


def job_tag(job: UUID) -> str:
    """Return the tag that all attempts for a job carry."""
    return f"{JOB_TAG}{job}"


def event_tag(event: Event) -> str:
    """Return the tag that all attempts for an event carry."""
    return f"event:{event}"


def webhook_id(job: UUID, event: Event, number: int = 0) -> str:
    """
    Name a message: the same for every attempt, whoever makes it and after whatever crash.

    Args:
        job:    the job.
        event:  what is told of it.
        number: of several messages about one event, which; 0 where there is but one.
    """
    which = f"{event}.{number}" if number else event
    return f"msg_{uuid5(job, f'musetalk.webhook.{which}').hex}"


class AnnounceJob(Job):
    """See who is to be told of a job, and have it done."""

    run: UUID = Field(
        title="Job", description="Its flow run.", examples=["6f1c2f9e-3f0e-4c07-8a6f-4a4c5f3f8f55"]
    )


class AnnounceResult(BaseModel):
    """What was set going."""

    webhooks: list[str] = Field(description="Ids of the messages, new or already on their way.")


class NotifyJob(Job):
    """One attempt at delivering one message."""

    run: UUID = Field(
        title="Job", description="Its flow run.", examples=["6f1c2f9e-3f0e-4c07-8a6f-4a4c5f3f8f55"]
    )
    event: Event = Field(title="Event", description="What is told of it.")
    attempt: int = Field(
        default=1, ge=1, le=100_000, title="Attempt", description="Number, from 1.", examples=[1]
    )
    number: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        title="Number",
        description="Of a message about progress: its number, from 1.",
        examples=[1],
    )
    replay: bool = Field(
        default=False, title="Replay", description="Asked for by somebody: delivered again, tried once."
    )

    @property
    def webhook_id(self) -> str:
        """The message's id."""
        return webhook_id(self.run, self.event, self.number)

    @property
    def key(self) -> str:
        """Idempotency key of the attempt's run: however many ask for it, it is made once."""
        return f"{self.webhook_id}:{'replay-' if self.replay else ''}{self.attempt}"

    @property
    def tags(self) -> list[str]:
        """Tags of the attempt's run."""
        return [job_tag(self.run), event_tag(self.event), *([REPLAY] if self.replay else [])]

    @property
    def name(self) -> str:
        """Name of the attempt's run, for people."""
        return f"{self.event} {str(self.run)[:8]} {'replay' if self.replay else 'attempt'} {self.attempt}"


class NotifyResult(BaseModel):
    """How an attempt went; also what its `delivery` artifact holds."""

    webhook_id: str
    job: UUID
    event: Event
    attempt: int
    replay: bool = False
    outcome: Outcome
    sent_at: datetime | None = Field(default=None, description="Empty: nothing was sent.")
    status_code: int | None = None
    signatures: int = Field(default=0, description="One a secret; 0: unsigned.")
    next_attempt_at: datetime | None = None
    dead: bool = Field(default=False, description="It was given up.")
    reason: str | None = Field(default=None, description="Why it was not delivered.")
    sent: str | None = Field(default=None, description="The body.")
    answer: str | None = Field(default=None, description="The first 4 kB of the answer.")
