"""What the flows that keep order are asked and what they answer. Pure pydantic, as `flows.schemas`."""

from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from flows.job import Job


class JanitorJob(Job):
    """Housekeeping."""

    dry_run: bool = Field(default=False, title="Dry run", description="Only say what would be done.")


USUAL_WORK: Final = JanitorJob()
"""Default parameters, used by the schedule."""


class Sweep(BaseModel):
    """One kind of thing that was tidied up, or would be."""

    model_config = ConfigDict(frozen=True)

    what: str = Field(description="What was done, in a few words.")
    count: int = Field(description="How many.")
    bytes: int = Field(default=0, description="Room that was made, where that is known.")
    examples: tuple[str, ...] = Field(default=(), description="The first few of them.")


class JanitorResult(BaseModel):
    """What was tidied up."""

    expired: list[str] = Field(default=[], description="Jobs that missed their deadline before they began.")
    announced: list[str] = Field(
        default=[], description="Webhooks that nobody had set going, or that had come to a halt."
    )
    sweeps: list[Sweep] = Field(default=[], description="Everything, those two included.")


class EndPartsJob(Job):
    """A batch or pipeline that was cancelled."""

    run: UUID = Field(title="Run", description="Its flow run.")


class EndPartsResult(BaseModel):
    """Those of its jobs that were asked to stop."""

    ended: list[str] = []
