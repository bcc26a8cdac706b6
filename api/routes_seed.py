"""Compatibility routes: /inference of the older MuseTalk service, and /status, /result and /job of both."""

from asyncio import to_thread
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from api import files, views
from api.doors import RunsDep
from api.keys import CANCEL, OPEN, READ, SUBMIT
from api.prefer import Preference, PreferHeader
from api.problems import CODES, Problem, invalid
from api.runs import FINAL, Run, Terms, wait_until_final
from api.seed_inference import Label, SeedInference, place_of, to_job
from flows.control import Control
from flows.outcome import TEXT_JOBS
from flows.registry import JOB_TYPES
from tasks.refs import job_uri
from tasks.settings import get_settings

router = APIRouter(tags=["older services"])
open_router = APIRouter(tags=["older services"], dependencies=[OPEN])

_OWN_BOOKS = frozenset({"video", "audio", "picture", "name", "files", "cached", "timings_s"})


@open_router.get("/")
async def read_root() -> dict[str, str]:
    """Report that the service runs, as the C3 Render API did."""
    return {"status": "C3 Render API is running", "timestamp": views.now_text()}


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
    runs: RunsDep,
    avatar_id: Annotated[Label, Query(description="Label of the avatar in the body.")],
    audio_id: Annotated[Label, Query(description="Label of the avatar's audio clip.")],
    body: SeedInference,
    prefer: PreferHeader = None,
) -> dict[str, Any]:
    """Lip-sync one clip to one avatar and wait for the result; 202 with the job's id if preferred."""
    try:
        job, warnings = to_job(body, avatar_id, audio_id)
    except ValidationError as error:
        places = [place_of(fault["loc"], avatar_id, audio_id) for fault in error.errors()]
        faults = zip(error.errors(), places, strict=True)
        raise invalid([{**fault, "loc": ("body", *place)} for fault, place in faults]) from error
    card = body.gpu_id if "gpu_id" in body.model_fields_set else None
    control = Control(gpu_id=card, max_time=get_settings().api.inference_max_time_s)
    run = await runs.create(JOB_TYPES["lip_sync"], job, Terms(control=control))
    wait_s, headers = _wait(Preference.read(prefer))
    run = await wait_until_final(runs, run.id, wait_s)
    if run.status in FINAL and run.status != "succeeded":
        raise _failure(run, avatar_id)
    response.status_code = 200 if run.status == "succeeded" else 202
    if run.status != "succeeded":
        response.headers.update(views.polling_headers(run))
    response.headers.update(headers)
    return _inference_answer(request, run, (avatar_id, audio_id), job.output.name, warnings)


def _wait(preferred: Preference) -> tuple[float, dict[str, str]]:
    """Return how long to wait in seconds, and the headers of the preferences applied."""
    api = get_settings().api
    # twice the job's maximum time: queueing and running; the job ends by itself within that
    limit = 2.0 * api.inference_max_time_s if api.inference_wait_s is None else api.inference_wait_s
    if preferred.wait_s is not None:
        wait_s = min(float(preferred.wait_s), limit)
        return wait_s, preferred.applied(wait_s)
    return (0.0 if preferred.respond_async else limit), preferred.applied()


def _inference_answer(
    request: Request, run: Run, labels: tuple[str, str], name: str | None, warnings: list[str]
) -> dict[str, Any]:
    file = views.finished_file(run)
    known_name = file.name if file else (f"{name}.mp4" if name else None)
    opaque = job_uri(run.id, known_name)
    done = run.status == "succeeded"
    return {
        "avatar_id": labels[0],
        "audio_id": labels[1],
        "output_path": opaque,
        # a folder store has no bucket, so the job:// reference is returned instead
        "s3_output_path": (file.uri if file.uri.startswith("s3://") else opaque) if file else None,
        "message": "Inference completed successfully" if done else "Inference is still running",
        "id": str(run.id),
        "status": views.seed_word(run),
        "result_url": views.file_url(request, run) if file else None,
        "duration_s": (run.result or {}).get("duration_s"),
        "size_bytes": file.size if file else None,
        "warnings": warnings + list((run.result or {}).get("warnings", [])),
    }


def _failure(run: Run, avatar_id: str) -> Problem:
    extra = {"id": str(run.id), "job_status": run.status}
    if run.error is None:
        return Problem("canceled", f"The job was {views.seed_word(run)}.", extra=extra)
    detail = run.error.message
    if run.error.code == "avatar_not_prepared":  # the message of the older service
        detail = f"{avatar_id} does not exist, you should set preparation to True"
    code = run.error.code if run.error.code in CODES else "internal"
    return Problem(code, detail, extra=extra | {"retryable": run.error.retryable})


def _job_id(job_id: str) -> UUID:
    try:
        return UUID(job_id)
    except ValueError:
        raise Problem("malformed_request", "Invalid job ID format") from None


@router.get("/status/{job_id}", dependencies=[READ])
async def read_status(request: Request, runs: RunsDep, job_id: str) -> dict[str, Any]:
    """Return the status of a job as the older service named it."""
    run = await runs.read(_job_id(job_id))
    return _with_error({"id": str(run.id), "status": views.seed_word(run)}, run) | views.standing(
        request, run
    )


@router.get("/result/{job_id}", response_model=None, dependencies=[READ])
async def read_result(request: Request, runs: RunsDep, job_id: str) -> JSONResponse | dict[str, Any]:
    """Return the result of a job in the older service's format."""
    run = await runs.read(_job_id(job_id))
    word = views.seed_word(run)
    match run.status:
        case "succeeded":
            file = views.finished_file(run)
            if file is not None and run.type not in TEXT_JOBS:
                await to_thread(files.require_not_replaced, file)
            return {"id": str(run.id), "status": word} | _outcome(request, run)
        case "failed":
            return _with_error({"id": str(run.id), "status": word}, run)
        case "canceled" | "aborted" if run.error is not None:  # deadline exceeded
            return _with_error({"id": str(run.id), "status": word}, run)
        case "canceled" | "aborted":
            extra = {"status": word, "final": True, "http_status": 400}
            raise Problem("canceled", "Job not completed", extra=extra)
        case _:
            extra = {"status": word, "http_status": 400}
            raise Problem("not_ready", "Job not completed", headers={"Retry-After": "2"}, extra=extra)


def _outcome(request: Request, run: Run) -> dict[str, Any]:
    """Return text, figures and links of a text job, or the link to the output file of any other job."""
    result = run.result or {}
    media = views.media_of(run)
    link = {"result_url": views.file_url(request, run)} if media else {}
    if run.type not in TEXT_JOBS:
        return link
    figures = {name: value for name, value in result.items() if name not in _OWN_BOOKS and value is not None}
    links = {file.name: views.named_url(request, run, file) for file in views.finished_files(run)}
    return (
        {"text": result.get("text", "")} | figures | link | ({"files": links} if links and not media else {})
    )


def _with_error(body: dict[str, Any], run: Run) -> dict[str, Any]:
    if run.error is None:
        return body
    return body | {"error": run.error.message, "code": run.error.code, "retryable": run.error.retryable}


_STOPS_WITHIN_S = 15.0
"""Maximum wait for a canceled job to stop before its data is removed."""


class SeedMark(BaseModel):
    """The body of POST /job/{job_id}, which ends a job."""

    status: str | None = None
    error: str | None = None
    remove_data: bool = False


@router.post("/job/{job_id}", dependencies=[CANCEL])
async def mark_job(runs: RunsDep, job_id: str, body: SeedMark) -> dict[str, str]:
    """Cancel a running job. With `remove_data` its data is deleted too."""
    wanted = _job_id(job_id)
    if body.status is None:
        raise Problem("invalid_input", "Missing status in request body")
    if body.status not in {"timed_out", "cancelled", "failed"}:
        raise Problem("invalid_input", "Invalid status. Must be one of: timed_out, cancelled, failed")
    if body.status == "failed":
        raise Problem("invalid_input", "Only the job itself can fail; use cancelled or timed_out")
    run = await runs.read(wanted)
    if run.status in FINAL:
        raise Problem("invalid_input", f"Job {run.id} has already ended as {views.seed_word(run)}")
    word: Literal["timed_out", "cancelled"] = "timed_out" if body.status == "timed_out" else "cancelled"
    await runs.cancel(wanted, word)
    if not body.remove_data:
        return {"message": f"Job {run.id} marked as {body.status}"}
    run = await wait_until_final(runs, wanted, _STOPS_WITHIN_S)
    if run.status not in FINAL:
        raise Problem("not_ready", "The job is being stopped; ask for its removal again in a moment.")
    await runs.remove(wanted)
    return {"message": f"Job {run.id} marked as {body.status} and data removed"}
