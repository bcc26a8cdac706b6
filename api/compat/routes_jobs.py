"""Compatibility routes of both older services for jobs: /status, /result and POST /job."""

from asyncio import to_thread
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.auth.api_keys import CANCEL, READ
from api.compat.status import legacy_error, legacy_status
from api.dependencies import JobsDep
from api.errors import Problem
from api.jobs import downloads
from api.jobs.model import FINAL_STATUSES, Job, JobStore, wait_until_final
from api.jobs.outputs import main_output_file, media_of, output_files
from api.schemas import job_views
from flows.prefect_state.status import TEXT_JOBS, ClientMark

router = APIRouter(tags=["compatibility routes"])

_INTERNAL_RESULT_FIELDS = frozenset(
    {"video", "audio", "picture", "name", "files", "cached", "timings_s", "usage", "provenance"}
)
_SIDECAR_ENDING = ".c2pa"
"""End of the names of C2PA manifests, which the older services did not have."""
_STOP_TIMEOUT_S = 15.0
"""Maximum wait for a canceled job to stop before its data is removed."""
_MAX_MESSAGE_CHARS = 1000


def _parse_job_id(job_id: str) -> UUID:
    try:
        return UUID(job_id)
    except ValueError:
        raise Problem("malformed_request", "Invalid job ID format") from None


@router.get("/status/{job_id}", dependencies=[READ])
async def read_status(request: Request, jobs: JobsDep, job_id: str) -> dict[str, Any]:
    """Return the status of a job as the older service named it."""
    job = await jobs.read(_parse_job_id(job_id))
    body = {"id": str(job.id), "status": legacy_status(job)} | legacy_error(job)
    return body | job_views.legacy_status_fields(request, job)


@router.get("/result/{job_id}", response_model=None, dependencies=[READ])
async def read_result(request: Request, jobs: JobsDep, job_id: str) -> JSONResponse | dict[str, Any]:
    """Return the result of a job in the older service's format."""
    job = await jobs.read(_parse_job_id(job_id))
    status = legacy_status(job)
    if status == "failed" or (job.mark is None and job.error is not None):  # an exceeded deadline, too
        return {"id": str(job.id), "status": status} | legacy_error(job)
    if status == "success":
        file = main_output_file(job)
        if file is not None and job.type not in TEXT_JOBS:
            await to_thread(downloads.require_not_replaced, file)
        return {"id": str(job.id), "status": status} | _result_fields(request, job)
    extra = {"status": status, "http_status": 400}
    if status in {"queued", "running"}:
        raise Problem("not_ready", "Job not completed", headers={"Retry-After": "2"}, extra=extra)
    raise Problem("canceled", "Job not completed", extra=extra | {"final": True})


def _result_fields(request: Request, job: Job) -> dict[str, Any]:
    """Return text, figures and links of a text job, or the link to the output file of any other job."""
    result = job.result or {}
    media, file = media_of(job), main_output_file(job)
    link = {"result_url": job_views.signed_file_url(request, job, file)} if media and file else {}
    if job.type not in TEXT_JOBS:
        return link
    figures = {
        name: value
        for name, value in result.items()
        if name not in _INTERNAL_RESULT_FIELDS and value is not None
    }
    links = {
        one.name: job_views.signed_file_url(request, job, one)
        for one in output_files(job)
        if not one.name.endswith(_SIDECAR_ENDING)
    }
    return (
        {"text": result.get("text", "")} | figures | link | ({"files": links} if links and not media else {})
    )


class SeedMark(BaseModel):
    """The body of POST /job/{job_id}, which ends a job."""

    status: str | None = None
    error: str | None = None
    remove_data: bool = False


@router.post("/job/{job_id}", dependencies=[CANCEL])
async def mark_job(jobs: JobsDep, job_id: str, body: SeedMark) -> dict[str, str]:
    """
    Declare a job `cancelled`, `timed_out` or `failed`, with an error message; a job that runs is stopped.

    /status and /result report this from then on, as the older service did. In the v1 API a job that has
    ended does not change. With `remove_data` the job is deleted once it has ended.
    """
    parsed_id = _parse_job_id(job_id)
    if body.status is None:
        raise Problem("invalid_input", "Missing status in request body")
    if body.status not in {"timed_out", "cancelled", "failed"}:
        raise Problem("invalid_input", "Invalid status. Must be one of: timed_out, cancelled, failed")
    job = await jobs.read(parsed_id)
    message = (body.error or f"Job marked as {body.status} by client")[:_MAX_MESSAGE_CHARS]
    await jobs.mark(parsed_id, ClientMark(body.status, message))
    if job.status not in FINAL_STATUSES:
        reason: Literal["timed_out", "cancelled"] = "timed_out" if body.status == "timed_out" else "cancelled"
        await jobs.cancel(parsed_id, reason)
    if not body.remove_data:
        return {"message": f"Job {job.id} marked as {body.status}"}
    await _remove(jobs, parsed_id)
    return {"message": f"Job {job.id} marked as {body.status} and data removed"}


async def _remove(jobs: JobStore, job_id: UUID) -> None:
    job = await wait_until_final(jobs, job_id, _STOP_TIMEOUT_S)
    if job.status not in FINAL_STATUSES:
        raise Problem("not_ready", "The job is being stopped; ask for its removal again in a moment.")
    await jobs.remove(job_id)
