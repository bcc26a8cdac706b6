"""The job routes of the older C3 Render API: queued at once, told of by /status and /result."""

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

_LATER: Any = {202: {"model": dict[str, Any], "description": "Queued, where `respond-async` is preferred."}}

JsonBody = Annotated[Any, Body()]
SeedBody = TypeVar("SeedBody", bound=seed_c3.SeedJob)


@router.post(
    "/csm", responses=_LATER, openapi_extra=seed_c3.documented(seed_csm.SeedSpeech), dependencies=[SUBMIT]
)
async def csm(
    response: Response, runs: RunsDep, body: JsonBody, prefer: PreferHeader = None
) -> dict[str, Any]:
    """Queue a text to be spoken."""
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
    """Queue a picture that is to say a speech."""
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
    """Queue a transcription."""
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
    """Queue the question what a picture shows."""
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
    """Answer as the service did: 200, or 202 when that is preferred."""
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
