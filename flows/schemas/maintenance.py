"""Request and result schemas of the maintenance flows. Pure pydantic."""

from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from flows.schemas.base import JobParameters


class JanitorJob(JobParameters):
    """Run the maintenance tasks."""

    dry_run: bool = Field(
        default=False, title="Dry run", description="Report what would be done without doing it."
    )


DEFAULT_JANITOR_JOB: Final = JanitorJob()
"""Default parameters, used by the schedule."""


class SweepSummary(BaseModel):
    """The actions of one kind: their number, the freed space, and examples."""

    model_config = ConfigDict(frozen=True)

    what: str = Field(description="Kind of action.")
    count: int = Field(description="Number of actions.")
    bytes: int = Field(default=0, description="Freed space in bytes, if known.")
    examples: tuple[str, ...] = Field(default=(), description="The first few objects affected.")


class JanitorResult(BaseModel):
    """The actions of one run of the janitor."""

    expired: list[str] = Field(default=[], description="Jobs that passed their deadline before they started.")
    announced: list[str] = Field(
        default=[], description="Webhooks that had not been enqueued, or whose retries had stopped."
    )
    sweeps: list[SweepSummary] = Field(default=[], description="All actions by kind, including those two.")


class EndPartsJob(JobParameters):
    """Cancel the child jobs of a canceled batch or pipeline."""

    run: UUID = Field(title="Flow run", description="Flow run id of the canceled batch or pipeline.")


class EndPartsResult(BaseModel):
    """The child jobs whose cancellation was requested."""

    ended: list[str] = []
