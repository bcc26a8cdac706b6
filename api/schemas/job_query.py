"""Query parameters of job lists: filters and pagination."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from api.jobs.model import JobFilter, Status
from flows.registry import JOB_TYPES


def _job_type(name: str) -> str:
    if name not in JOB_TYPES:
        raise ValueError(f"unknown job type; known types: {', '.join(JOB_TYPES)}")
    return name


SearchText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class ChildJobsQuery(BaseModel):
    """Filters and pagination of the child jobs of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: list[Status] = Field(default=[], description="Jobs with any of these statuses.")
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=8192, description="`next_cursor` of the last page.")

    def to_filter(self, parent: UUID) -> JobFilter:
        """Return the filter for the child jobs of a parent job."""
        return JobFilter(
            statuses=frozenset(self.status), part_of=parent, limit=self.limit, cursor=self.cursor
        )


class ListQuery(BaseModel):
    """Filters and pagination of the job list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: list[Status] = Field(default=[], description="Jobs with any of these statuses.")
    type: list[Annotated[str, AfterValidator(_job_type)]] = Field(
        default=[], description="Jobs of any of these types."
    )
    part_of: UUID | None = Field(default=None, description="Child jobs of this batch or pipeline.")
    tag: list[str] = Field(default=[], max_length=50, description="Jobs with all of these tags.")
    created_after: AwareDatetime | None = Field(default=None, description="RFC 3339 with an offset.")
    created_before: AwareDatetime | None = Field(default=None, description="RFC 3339 with an offset.")
    search: SearchText | None = Field(
        default=None,
        description="Jobs whose run name contains this text, in any case: names of input files, of the output"
        " if no input has one, and of the step or row of a child job.",
        examples=["anna.mp4"],
    )
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=8192, description="`next_cursor` of the last page.")

    def to_filter(self) -> JobFilter:
        """Return the filter for the job store."""
        return JobFilter(
            statuses=frozenset(self.status),
            types=frozenset(self.type),
            tags=tuple(self.tag),
            part_of=self.part_of,
            created_after=self.created_after,
            created_before=self.created_before,
            search=self.search,
            limit=self.limit,
            cursor=self.cursor,
        )
