"""What a list of jobs is asked for."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from api.runs import Status, Wanted
from flows.registry import JOB_TYPES


def _job_type(name: str) -> str:
    if name not in JOB_TYPES:
        raise ValueError(f"there is no such job type; there are: {', '.join(JOB_TYPES)}")
    return name


class PartsQuery(BaseModel):
    """Of a batch's jobs: filters, and where to go on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: list[Status] = Field(default=[], description="Any of these.")
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=8192, description="`next_cursor` of a page before.")

    def wanted_of(self, parent: UUID) -> Wanted:
        """Say it in the job system's words."""
        return Wanted(statuses=frozenset(self.status), part_of=parent, limit=self.limit, cursor=self.cursor)


class ListQuery(BaseModel):
    """Filters, and where to go on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: list[Status] = Field(default=[], description="Any of these.")
    type: list[Annotated[str, AfterValidator(_job_type)]] = Field(
        default=[], description="Any of these job types."
    )
    part_of: UUID | None = Field(default=None, description="Those that this batch or pipeline made.")
    tag: list[str] = Field(default=[], max_length=50, description="All of these.")
    created_after: AwareDatetime | None = Field(default=None, description="RFC 3339, with an offset.")
    created_before: AwareDatetime | None = Field(default=None, description="RFC 3339, with an offset.")
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=8192, description="`next_cursor` of a page before.")

    def wanted(self) -> Wanted:
        """Say it in the job system's words."""
        return Wanted(
            statuses=frozenset(self.status),
            types=frozenset(self.type),
            tags=tuple(self.tag),
            part_of=self.part_of,
            created_after=self.created_after,
            created_before=self.created_before,
            limit=self.limit,
            cursor=self.cursor,
        )
