"""Compatibility routes of the C3 Render API that submit jobs: /csm, /portrait, /whisper and /analyze."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Response
from pydantic import ValidationError

from api.auth.api_keys import SUBMIT
from api.compat import c3, c3_analyze, c3_csm, c3_portrait, c3_whisper
from api.dependencies import JobsDep
from api.errors import validation_problem
from api.http.headers import Preference, PreferHeader
from api.jobs.model import JobStore, SubmitOptions
from api.jobs.submission_checks import check_models
from api.schemas import job_views
from flows.registry import JOB_TYPES
from flows.schemas.base import JobParameters

router = APIRouter(tags=["compatibility routes"])

_QUEUED_RESPONSE: Any = {
    202: {"model": dict[str, Any], "description": "Queued, if `Prefer: respond-async` was sent."}
}

JsonBody = Annotated[Any, Body()]
SeedBody = TypeVar("SeedBody", bound=c3.LegacyJob)


@router.post(
    "/csm",
    responses=_QUEUED_RESPONSE,
    openapi_extra=c3.openapi_body(c3_csm.SeedSpeech),
    dependencies=[SUBMIT],
)
async def csm(
    response: Response, jobs: JobsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue a speech job."""
    parsed = c3.parse_body(c3_csm.SeedSpeech, body)
    return await _queue_job(response, jobs, "speech", c3_csm.to_job, parsed, prefer)


@router.post(
    "/portrait",
    responses=_QUEUED_RESPONSE,
    openapi_extra=c3.openapi_body(c3_portrait.SeedPortrait),
    dependencies=[SUBMIT],
)
async def portrait(
    response: Response, jobs: JobsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue a talking portrait."""
    parsed = c3_portrait.read_portrait(body)
    return await _queue_job(response, jobs, "portrait", c3_portrait.to_job, parsed, prefer)


@router.post(
    "/whisper",
    responses=_QUEUED_RESPONSE,
    openapi_extra=c3.openapi_body(c3_whisper.SeedWhisper),
    dependencies=[SUBMIT],
)
async def whisper(
    response: Response, jobs: JobsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue a transcription job."""
    parsed = c3.parse_body(c3_whisper.SeedWhisper, body)
    return await _queue_job(response, jobs, "transcribe", c3_whisper.to_job, parsed, prefer)


@router.post(
    "/analyze",
    responses=_QUEUED_RESPONSE,
    openapi_extra=c3.openapi_body(c3_analyze.SeedAnalyze),
    dependencies=[SUBMIT],
)
async def analyze(
    response: Response, jobs: JobsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue an image analysis job."""
    parsed = c3.parse_body(c3_analyze.SeedAnalyze, body)
    return await _queue_job(response, jobs, "analyze", c3_analyze.to_job, parsed, prefer)


async def _queue_job(
    response: Response,
    jobs: JobStore,
    name: str,
    to_job: Callable[[SeedBody], JobParameters],
    parsed: SeedBody,
    prefer: str | None,
) -> dict[str, Any]:
    """Queue a job and respond as the C3 service did: 200, or 202 for `Prefer: respond-async`."""
    try:
        job = to_job(parsed)
    except ValidationError as error:
        raise validation_problem(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        ) from error
    substitutions = await check_models(JOB_TYPES[name], job)
    submitted_job = await jobs.create(JOB_TYPES[name], job, SubmitOptions(control=parsed.control()))
    response.headers.update(job_views.polling_headers(submitted_job))
    preferred = Preference.parse(prefer)
    response.headers.update(preferred.applied_headers())
    if preferred.respond_async:
        response.status_code = 202
    return c3.queued_response(submitted_job, parsed.warnings() + substitutions)
