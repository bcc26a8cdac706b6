"""Route for the provenance manifest (lineage) of a job's output."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.auth.api_keys import READ
from api.dependencies import JobsDep, LineagesDep
from api.errors import Problem
from api.jobs.ancestry import Ancestor, collect_ancestors
from api.jobs.model import Status
from api.routes.jobs import missing_file_problem
from flows.schemas.lineage import Lineage

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

MAX_DEPTH = 20

Depth = Annotated[
    int, Query(ge=0, le=MAX_DEPTH, description="Number of generations of ancestor jobs to include.")
]


class AncestorView(BaseModel):
    """A job from which the requested job is derived, directly or indirectly."""

    job: UUID
    depth: int = Field(description="Distance in generations: 1 for a parent.")
    status: Status | Literal["unknown"] = Field(
        description="unknown: the job does not exist, was deleted or belongs to another tenant."
    )
    lineage: Lineage | None = Field(
        description="Null for an unknown job, a job without output yet, and a job of an older version."
    )


class LineageView(BaseModel):
    """The provenance of a job's output."""

    lineage: Lineage
    ancestors: list[AncestorView] = Field(description="Each job once, nearest first; at most 100.")
    complete: bool = Field(description="Whether the list contains all known ancestors.")


@router.get("/{job_id}/lineage", dependencies=[READ])
async def read_lineage(jobs: JobsDep, lineages: LineagesDep, job_id: UUID, depth: Depth = 0) -> LineageView:
    """
    Return a job's provenance manifest: input and output files with hashes, parameters, models, program.

    Includes the manifests of ancestor jobs (`job://` inputs and parent jobs) up to the requested depth.
    """
    job = await jobs.read(job_id)
    if job.status != "succeeded":
        raise missing_file_problem(job.status)
    lineage = (await lineages.read_many([job_id])).get(job_id)
    if lineage is None:
        raise Problem("not_found", "The job has no provenance manifest.")
    earlier, has_more = await collect_ancestors(lineage, depth, jobs, lineages)
    return LineageView(
        lineage=lineage, ancestors=[_ancestor_view(one) for one in earlier], complete=not has_more
    )


def _ancestor_view(ancestor: Ancestor) -> AncestorView:
    return AncestorView(
        job=ancestor.job_id,
        depth=ancestor.depth,
        status=ancestor.job.status if ancestor.job else "unknown",
        lineage=ancestor.lineage,
    )
