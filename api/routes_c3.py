"""Compatibility routes of the C3 Render API that submit jobs: /csm, /portrait, /whisper and /analyze."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Response
from pydantic import ValidationError

from api import seed_analyze, seed_c3, seed_csm, seed_portrait, seed_whisper, views
from api.doors import RunsDep
from api.keys import SUBMIT
from api.models_here import require_models
from api.prefer import Preference, PreferHeader
from api.problems import invalid
from api.runs import Runs, Terms
from flows.registry import JOB_TYPES
from flows.schemas import Job

router = APIRouter(tags=["older services"])

_LATER: Any = {202: {"model": dict[str, Any], "description": "Queued, if `Prefer: respond-async` was sent."}}

JsonBody = Annotated[Any, Body()]
SeedBody = TypeVar("SeedBody", bound=seed_c3.SeedJob)


@router.post(
    "/csm", responses=_LATER, openapi_extra=seed_c3.documented(seed_csm.SeedSpeech), dependencies=[SUBMIT]
)
async def csm(
    response: Response, runs: RunsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue a speech job."""
    asked = seed_c3.read(seed_csm.SeedSpeech, body)
    return await _queued(response, runs, "speech", seed_csm.to_job, asked, prefer)


@router.post(
    "/portrait",
    responses=_LATER,
    openapi_extra=seed_c3.documented(seed_portrait.SeedPortrait),
    dependencies=[SUBMIT],
)
async def portrait(
    response: Response, runs: RunsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue a talking portrait."""
    asked = seed_portrait.read_portrait(body)
    return await _queued(response, runs, "portrait", seed_portrait.to_job, asked, prefer)


@router.post(
    "/whisper",
    responses=_LATER,
    openapi_extra=seed_c3.documented(seed_whisper.SeedWhisper),
    dependencies=[SUBMIT],
)
async def whisper(
    response: Response, runs: RunsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue a transcription job."""
    asked = seed_c3.read(seed_whisper.SeedWhisper, body)
    return await _queued(response, runs, "transcribe", seed_whisper.to_job, asked, prefer)


@router.post(
    "/analyze",
    responses=_LATER,
    openapi_extra=seed_c3.documented(seed_analyze.SeedAnalyze),
    dependencies=[SUBMIT],
)
async def analyze(
    response: Response, runs: RunsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue an image analysis job."""
    asked = seed_c3.read(seed_analyze.SeedAnalyze, body)
    return await _queued(response, runs, "analyze", seed_analyze.to_job, asked, prefer)


async def _queued(
    response: Response,
    runs: Runs,
    name: str,
    to_job: Callable[[SeedBody], Job],
    asked: SeedBody,
    prefer: str | None,
) -> dict[str, Any]:
    """Queue a job and respond as the C3 service did: 200, or 202 for `Prefer: respond-async`."""
    try:
        job = to_job(asked)
    except ValidationError as error:
        raise invalid([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from error
    await require_models(JOB_TYPES[name], job)
    run = await runs.create(JOB_TYPES[name], job, Terms(control=asked.control()))
    response.headers.update(views.polling_headers(run))
    preferred = Preference.read(prefer)
    response.headers.update(preferred.applied())
    if preferred.respond_async:
        response.status_code = 202
    return seed_c3.queued(run, asked.warnings())
