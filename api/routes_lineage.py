"""Where a job's output came from, over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.doors import LineagesDep, RunsDep
from api.keys import READ
from api.lineages import Ancestor, ancestors
from api.problems import Problem
from api.routes_jobs import not_finished
from api.runs import Status
from flows.lineage_schemas import Lineage

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

DEEPEST = 20

Depth = Annotated[
    int, Query(ge=0, le=DEEPEST, description="How far back to follow the jobs that it builds on.")
]


class AncestorView(BaseModel):
    """A job that the one asked about builds on, directly or not."""

    job: UUID
    depth: int = Field(description="How far back: 1 for a parent.")
    status: Status | Literal["unknown"] = Field(
        description="unknown: there is no such job (any more), or it is not the caller's."
    )
    lineage: Lineage | None = Field(
        description="Null for an unknown job, one that has made nothing yet, and one of an older version."
    )


class LineageView(BaseModel):
    """Where a job's output came from."""

    lineage: Lineage
    ancestors: list[AncestorView] = Field(description="Each once, the nearest first; at most 100.")
    complete: bool = Field(description="Nothing is known to lie further back than what is listed.")


@router.get("/{job_id}/lineage", dependencies=[READ])
async def read_lineage(runs: RunsDep, lineages: LineagesDep, job_id: UUID, depth: Depth = 0) -> LineageView:
    """
    Say what went into a job and what came out: files with hashes, parameters, models, the program.

    Of the jobs that it builds on (`job://` inputs, and what it is part of) as far back as asked.
    """
    run = await runs.read(job_id)
    if run.status != "succeeded":
        raise not_finished(run.status)
    found = (await lineages.of([job_id])).get(job_id)
    if found is None:
        raise Problem("not_found", "The job did not write down where its output came from.")
    before, more = await ancestors(found, depth, runs, lineages)
    return LineageView(lineage=found, ancestors=[_view(one) for one in before], complete=not more)


def _view(one: Ancestor) -> AncestorView:
    return AncestorView(
        job=one.job,
        depth=one.depth,
        status=one.run.status if one.run else "unknown",
        lineage=one.lineage,
    )
