"""Jobs over HTTP. One POST route per registered job type, so that each has its own schema."""

import re
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response

from api import files, views
from api.doors import RunsDep
from api.keys import require_key
from api.models_here import require_models
from api.problems import Problem
from api.views import JobView
from flows.registry import JOB_TYPES, JobType
from flows.schemas import Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(require_key)])

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", description="The same key and body give the same job, never a second one."
    ),
]
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def _submit_route(job_type: JobType) -> Callable[..., Awaitable[JobView]]:
    async def submit(
        request: Request, response: Response, runs: RunsDep, job: Job, key: KeyHeader = None
    ) -> JobView:
        if key is not None and not _KEY.fullmatch(key):
            raise Problem("malformed_request", "Idempotency-Key has 1 to 255 visible ASCII characters.")
        await require_models(job_type, job)
        run = await runs.create(job_type, job, key)
        response.headers.update(views.polling_headers(run))
        return views.job_view(request, run)

    submit.__annotations__["job"] = job_type.job
    return submit


for _job_type in JOB_TYPES.values():
    router.add_api_route(
        f"/{_job_type.name}",
        _submit_route(_job_type),
        methods=["POST"],
        status_code=202,
        name=f"submit_{_job_type.name}",
        operation_id=f"submit_{_job_type.name}",
        summary=(_job_type.job.__doc__ or _job_type.name).strip().rstrip("."),
    )


@router.get("/{job_id}")
async def read_job(request: Request, response: Response, runs: RunsDep, job_id: UUID) -> JobView:
    """Say where a job stands."""
    run = await runs.read(job_id)
    if run.status not in views.FINAL:
        response.headers["Retry-After"] = views.RETRY_AFTER_S
    return views.job_view(request, run)


@router.post("/{job_id}/cancel")
@router.delete("/{job_id}", operation_id="delete_job", name="delete_job")
async def cancel_job(request: Request, runs: RunsDep, job_id: UUID) -> JobView:
    """Ask a job to stop. One that has ended stays as it is."""
    return views.job_view(request, await runs.cancel(job_id))


@router.head("/{job_id}/files/{name}", include_in_schema=False, response_model=None, name="head_file")
@router.get("/{job_id}/files/{name}", response_model=None)
async def read_file(runs: RunsDep, job_id: UUID, name: str) -> Response:
    """Give a file that a job made; parts of it too, by Range."""
    run = await runs.read(job_id)
    for file in views.finished_files(run):
        if file.name == name:
            return await to_thread(files.answer_with, file)
    raise not_finished(run.status)


@router.head("/{job_id}/result", include_in_schema=False, response_model=None, name="head_result")
@router.get("/{job_id}/result", response_model=None)
async def read_result_file(runs: RunsDep, job_id: UUID) -> Response:
    """Go to the file that a job made."""
    run = await runs.read(job_id)
    file = views.finished_file(run)
    if file is None:
        raise not_finished(run.status)
    return Response(status_code=307, headers={"Location": f"/v1/jobs/{run.id}/files/{file.name}"})


def not_finished(status: str) -> Problem:
    """Say why a job has no file."""
    if status in {"queued", "scheduled", "running"}:
        return Problem(
            "not_ready", f"The job is still {status}.", headers={"Retry-After": views.RETRY_AFTER_S}
        )
    return Problem("not_found", "The job has no such file.")
