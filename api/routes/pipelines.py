"""Routes for pipelines: several jobs that use each other's results, run as one job."""

from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.auth.api_keys import READ
from api.dependencies import JobsDep
from api.errors import Problem
from api.jobs.model import Job, JobFilter
from api.routes.submit import add_submit_route
from api.schemas import job_views
from api.schemas.job_request import request_model
from api.schemas.job_views import JobView
from flows.registry import JOB_TYPES

router = APIRouter(prefix="/v1/pipelines", tags=["pipelines"])

_PIPELINE, _PERSONA_SYNC = JOB_TYPES["pipeline"], JOB_TYPES["persona_sync"]
_PIPELINE_TYPES: Final = frozenset({"pipeline", "persona_sync"})

add_submit_route(
    router,
    "",
    request_model(_PIPELINE),
    lambda _: _PIPELINE,
    "new_pipeline",
    "Run several jobs that use each other's results as a pipeline",
)
add_submit_route(
    router,
    "/persona_sync",
    request_model(_PERSONA_SYNC),
    lambda _: _PERSONA_SYNC,
    "new_persona_sync",
    "Lip-sync a clip to a voice clip and add captions",
)


class PipelineView(BaseModel):
    """A pipeline and its steps."""

    job: JobView
    steps: dict[str, JobView | None] = Field(
        description="The job of each step by name; null for a step that has not started."
    )


@router.get("/{pipeline_id}", name="read_pipeline", dependencies=[READ])
async def read_pipeline(request: Request, jobs: JobsDep, pipeline_id: UUID) -> PipelineView:
    """Return a pipeline and the status of each of its steps."""
    job = await jobs.read(pipeline_id)
    if job.type not in _PIPELINE_TYPES:
        raise Problem("not_found", "Pipeline not found")
    page = await jobs.find(JobFilter(part_of=pipeline_id, limit=200))
    newest_by_step = {part.part: part for part in reversed(page.jobs) if part.part}
    steps: dict[str, JobView | None] = {name: None for name in _step_names(job)}
    steps |= {name: job_views.job_view(request, part) for name, part in newest_by_step.items()}
    return PipelineView(job=job_views.job_view(request, job), steps=steps)


def _step_names(job: Job) -> list[str]:
    steps: Any = job.parameters.get("steps") or []
    return [str(step["name"]) for step in steps]
