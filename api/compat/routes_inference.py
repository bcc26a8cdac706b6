"""Compatibility route of the older MuseTalk service: /inference."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from api.auth.api_keys import SUBMIT
from api.compat.inference_request import Label, SeedInference, body_location, to_job
from api.compat.status import legacy_status
from api.dependencies import JobsDep
from api.errors import CODES, Problem, validation_problem
from api.http.headers import Preference, PreferHeader
from api.jobs.model import FINAL_STATUSES, Job, SubmitOptions, wait_until_final
from api.jobs.outputs import main_output_file
from api.jobs.submission_checks import check_models
from api.schemas import job_views
from flows.registry import JOB_TYPES
from flows.schemas.control import Control
from flows.storage.output_uris import public_uri
from tasks.settings import get_settings

router = APIRouter(tags=["compatibility routes"])

_NO_BUCKET = (
    "no_bucket: the request names no s3_bucket, so the result is in the system's own store and"
    " s3_output_path is null; download the result from output_path"
)


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
    warnings += await check_models(JOB_TYPES["lip_sync"], job)
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
    return _inference_response(request, submitted_job, (avatar_id, audio_id), warnings)


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
    request: Request, job: Job, labels: tuple[str, str], warnings: list[str]
) -> dict[str, Any]:
    file = main_output_file(job)
    link = job_views.signed_file_url(request, job, file) if file else None
    uri = public_uri(file.uri, job.id, file.name) if file else ""
    is_in_bucket = uri.startswith("s3://")
    has_succeeded = job.status == "succeeded"
    return {
        "avatar_id": labels[0],
        "audio_id": labels[1],
        "output_path": link,
        "s3_output_path": uri if is_in_bucket else None,
        "message": "Inference completed successfully" if has_succeeded else "Inference is still running",
        "id": str(job.id),
        "status": legacy_status(job),
        "result_url": link,
        "duration_s": (job.result or {}).get("duration_s"),
        "size_bytes": file.size if file else None,
        "warnings": list(
            dict.fromkeys(
                [
                    *warnings,
                    *(job.result or {}).get("warnings", []),
                    *([_NO_BUCKET] if file and not is_in_bucket else []),
                ]
            )
        ),
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
