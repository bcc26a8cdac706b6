"""Compatibility routes: /inference of the older MuseTalk service, and /status, /result and /job of both."""

from asyncio import to_thread
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from api.auth.api_keys import CANCEL, PUBLIC, READ, SUBMIT
from api.compat.inference_request import Label, SeedInference, body_location, to_job
from api.compat.status import legacy_status
from api.dependencies import JobsDep
from api.errors import CODES, Problem, validation_problem
from api.http.headers import Preference, PreferHeader
from api.jobs import downloads
from api.jobs.model import FINAL_STATUSES, Job, SubmitOptions, wait_until_final
from api.jobs.outputs import main_output_file, media_of, output_files
from api.schemas import job_views
from flows.prefect_state.status import TEXT_JOBS
from flows.registry import JOB_TYPES
from flows.schemas.control import Control
from tasks.refs import job_uri
from tasks.settings import get_settings

router = APIRouter(tags=["compatibility routes"])
open_router = APIRouter(tags=["compatibility routes"], dependencies=[PUBLIC])

_INTERNAL_RESULT_FIELDS = frozenset({"video", "audio", "picture", "name", "files", "cached", "timings_s"})


@open_router.get("/")
async def read_root() -> dict[str, str]:
    """Report that the service runs, as the C3 Render API did."""
    return {"status": "C3 Render API is running", "timestamp": job_views.legacy_timestamp()}


@router.post(
    "/inference",
    responses={
        202: {"model": dict[str, Any], "description": "The job has not ended within the wait; see `status`."}
    },
    dependencies=[SUBMIT],
)
async def inference(
    request: Request,
    response: Response,
    jobs: JobsDep,
    avatar_id: Annotated[Label, Query(description="Label of the avatar in the body.")],
    audio_id: Annotated[Label, Query(description="Label of the avatar's audio clip.")],
    body: SeedInference,
    prefer: PreferHeader = None,
) -> dict[str, Any]:
    """Lip-sync one clip to one avatar and wait for the result; 202 with the job's id if preferred."""
    try:
        job, warnings = to_job(body, avatar_id, audio_id)
    except ValidationError as error:
        locations = [body_location(fault["loc"], avatar_id, audio_id) for fault in error.errors()]
        faults = zip(error.errors(), locations, strict=True)
        raise validation_problem([{**fault, "loc": ("body", *place)} for fault, place in faults]) from error
    gpu_id = body.gpu_id if "gpu_id" in body.model_fields_set else None
    control = Control(gpu_id=gpu_id, max_time=get_settings().api.inference_max_time_s)
    submitted_job = await jobs.create(JOB_TYPES["lip_sync"], job, SubmitOptions(control=control))
    wait_s, headers = _wait_limit(Preference.parse(prefer))
    submitted_job = await wait_until_final(jobs, submitted_job.id, wait_s, submitted_job)
    if submitted_job.status in FINAL_STATUSES and submitted_job.status != "succeeded":
        raise _failure_problem(submitted_job, avatar_id)
    response.status_code = 200 if submitted_job.status == "succeeded" else 202
    if submitted_job.status != "succeeded":
        response.headers.update(job_views.polling_headers(submitted_job))
    response.headers.update(headers)
    return _inference_response(request, submitted_job, (avatar_id, audio_id), job.output.name, warnings)


def _wait_limit(preferred: Preference) -> tuple[float, dict[str, str]]:
    """Return how long to wait in seconds, and the headers of the preferences applied."""
    api = get_settings().api
    # twice the job's maximum time: once for queueing, once for running
    limit = 2.0 * api.inference_max_time_s if api.inference_wait_s is None else api.inference_wait_s
    if preferred.wait_s is not None:
        wait_s = min(float(preferred.wait_s), limit)
        return wait_s, preferred.applied_headers(wait_s)
    return (0.0 if preferred.respond_async else limit), preferred.applied_headers()


def _inference_response(
    request: Request, job: Job, labels: tuple[str, str], name: str | None, warnings: list[str]
) -> dict[str, Any]:
    file = main_output_file(job)
    known_name = file.name if file else (f"{name}.mp4" if name else None)
    job_reference = job_uri(job.id, known_name)
    has_succeeded = job.status == "succeeded"
    return {
        "avatar_id": labels[0],
        "audio_id": labels[1],
        "output_path": job_reference,
        # a folder store has no bucket, so the job:// reference is returned instead
        "s3_output_path": (file.uri if file.uri.startswith("s3://") else job_reference) if file else None,
        "message": "Inference completed successfully" if has_succeeded else "Inference is still running",
        "id": str(job.id),
        "status": legacy_status(job),
        "result_url": job_views.file_url(request, job) if file else None,
        "duration_s": (job.result or {}).get("duration_s"),
        "size_bytes": file.size if file else None,
        "warnings": warnings + list((job.result or {}).get("warnings", [])),
    }


def _failure_problem(job: Job, avatar_id: str) -> Problem:
    extra = {"id": str(job.id), "job_status": job.status}
    if job.error is None:
        return Problem("canceled", f"The job was {legacy_status(job)}.", extra=extra)
    detail = job.error.message
    if job.error.code == "avatar_not_prepared":  # the message of the older service
        detail = f"{avatar_id} does not exist, you should set preparation to True"
    code = job.error.code if job.error.code in CODES else "internal"
    return Problem(code, detail, extra=extra | {"retryable": job.error.retryable})


def _parse_job_id(job_id: str) -> UUID:
    try:
        return UUID(job_id)
    except ValueError:
        raise Problem("malformed_request", "Invalid job ID format") from None


@router.get("/status/{job_id}", dependencies=[READ])
async def read_status(request: Request, jobs: JobsDep, job_id: str) -> dict[str, Any]:
    """Return the status of a job as the older service named it."""
    job = await jobs.read(_parse_job_id(job_id))
    return _with_error(
        {"id": str(job.id), "status": legacy_status(job)}, job
    ) | job_views.legacy_status_fields(request, job)


@router.get("/result/{job_id}", response_model=None, dependencies=[READ])
async def read_result(request: Request, jobs: JobsDep, job_id: str) -> JSONResponse | dict[str, Any]:
    """Return the result of a job in the older service's format."""
    job = await jobs.read(_parse_job_id(job_id))
    status = legacy_status(job)
    match job.status:
        case "succeeded":
            file = main_output_file(job)
            if file is not None and job.type not in TEXT_JOBS:
                await to_thread(downloads.require_not_replaced, file)
            return {"id": str(job.id), "status": status} | _result_fields(request, job)
        case "failed":
            return _with_error({"id": str(job.id), "status": status}, job)
        case "canceled" | "aborted" if job.error is not None:  # deadline exceeded
            return _with_error({"id": str(job.id), "status": status}, job)
        case "canceled" | "aborted":
            extra = {"status": status, "final": True, "http_status": 400}
            raise Problem("canceled", "Job not completed", extra=extra)
        case _:
            extra = {"status": status, "http_status": 400}
            raise Problem("not_ready", "Job not completed", headers={"Retry-After": "2"}, extra=extra)


def _result_fields(request: Request, job: Job) -> dict[str, Any]:
    """Return text, figures and links of a text job, or the link to the output file of any other job."""
    result = job.result or {}
    media = media_of(job)
    link = {"result_url": job_views.file_url(request, job)} if media else {}
    if job.type not in TEXT_JOBS:
        return link
    figures = {
        name: value
        for name, value in result.items()
        if name not in _INTERNAL_RESULT_FIELDS and value is not None
    }
    links = {file.name: job_views.output_file_url(request, job, file) for file in output_files(job)}
    return (
        {"text": result.get("text", "")} | figures | link | ({"files": links} if links and not media else {})
    )


def _with_error(body: dict[str, Any], job: Job) -> dict[str, Any]:
    if job.error is None:
        return body
    return body | {"error": job.error.message, "code": job.error.code, "retryable": job.error.retryable}


_STOP_TIMEOUT_S = 15.0
"""Maximum wait for a canceled job to stop before its data is removed."""


class SeedMark(BaseModel):
    """The body of POST /job/{job_id}, which ends a job."""

    status: str | None = None
    error: str | None = None
    remove_data: bool = False


@router.post("/job/{job_id}", dependencies=[CANCEL])
async def mark_job(jobs: JobsDep, job_id: str, body: SeedMark) -> dict[str, str]:
    """
    Cancel a job that has not ended; `status` is the reason: `cancelled` or `timed_out`.

    With `remove_data` the job is also deleted once it has ended.
    """
    parsed_id = _parse_job_id(job_id)
    if body.status is None:
        raise Problem("invalid_input", "Missing status in request body")
    if body.status not in {"timed_out", "cancelled", "failed"}:
        raise Problem("invalid_input", "Invalid status. Must be one of: timed_out, cancelled, failed")
    if body.status == "failed":
        raise Problem("invalid_input", "Only the job itself can fail; use cancelled or timed_out")
    job = await jobs.read(parsed_id)
    if job.status in FINAL_STATUSES:
        raise Problem("invalid_input", f"Job {job.id} has already ended as {legacy_status(job)}")
    reason: Literal["timed_out", "cancelled"] = "timed_out" if body.status == "timed_out" else "cancelled"
    await jobs.cancel(parsed_id, reason)
    if not body.remove_data:
        return {"message": f"Job {job.id} marked as {body.status}"}
    job = await wait_until_final(jobs, parsed_id, _STOP_TIMEOUT_S)
    if job.status not in FINAL_STATUSES:
        raise Problem("not_ready", "The job is being stopped; ask for its removal again in a moment.")
    await jobs.remove(parsed_id)
    return {"message": f"Job {job.id} marked as {body.status} and data removed"}
