"""Verification of Content Credentials: a route that checks a file and answers when the check is finished."""

import json
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from api.auth.api_keys import SUBMIT
from api.dependencies import JobsDep
from api.errors import CODES, Problem, validation_problem
from api.http.body_guard import too_large
from api.http.headers import Preference, PreferHeader
from api.http.json_body import check_body
from api.http.request_middleware import MAX_JSON_BYTES
from api.jobs.model import FINAL_STATUSES, wait_until_final
from api.routes.assets import UPLOAD_BODY, save_upload
from api.schemas import job_views
from api.schemas.job_views import JobView
from flows.registry import JOB_TYPES
from flows.schemas.verify import VerifyJob, VerifyResult
from tasks.refs import MediaUri, job_uri
from tasks.settings import get_settings

router = APIRouter(tags=["verification"])

_DEFAULT_WAIT_S: Final = 30.0
_JSON: Final = "application/json"


def _job_reference(value: Any) -> Any:
    """Accept the id of a job for its main output."""
    try:
        return job_uri(UUID(value)) if isinstance(value, str) else value
    except ValueError:
        return value


class VerifyRequest(BaseModel):
    """A file to check, by reference."""

    model_config = ConfigDict(extra="forbid")

    media: Annotated[MediaUri, BeforeValidator(_job_reference)] = Field(
        description="asset://ID, s3://bucket/key, https://…, job://ID/NAME, or the id of a job.",
        examples=["asset://5d1c0f6c8f1d4c1c9d6a7e0f0c9b2a11"],
    )
    sidecar: MediaUri | None = Field(
        default=None, description="Manifest beside the file, if it is not found by its name."
    )


class Verified(VerifyResult):
    """The verification of a file, and the job that made it."""

    job: UUID = Field(description="Id of the verify job.")


_BODY: Final[dict[str, Any]] = {
    **UPLOAD_BODY,
    "content": {
        _JSON: {"schema": VerifyRequest.model_json_schema()},
        **UPLOAD_BODY["content"],
    },
}


@router.post(
    "/v1/verify",
    response_model=Verified,
    responses={
        202: {"model": JobView, "description": "The check takes longer; the job's result will be the answer."}
    },
    openapi_extra={"requestBody": _BODY},
    dependencies=[SUBMIT],
)
async def verify(
    request: Request, response: Response, jobs: JobsDep, prefer: PreferHeader = None
) -> Verified | Response:
    """
    Check the Content Credentials (C2PA) of a file: an upload, a reference, or the output of a job.

    A job of the type `verify` reads the file. The response waits for it for 30 s, or as long as
    `Prefer: wait=SECONDS` says.
    """
    wanted = await _read_request(request)
    parameters = VerifyJob(media=wanted.media, sidecar=wanted.sidecar)
    job = await jobs.create(JOB_TYPES["verify"], parameters)
    preferred = Preference.parse(prefer)
    wait_s = _DEFAULT_WAIT_S if preferred.wait_s is None else preferred.wait_s
    job = await wait_until_final(jobs, job.id, min(wait_s, get_settings().api.max_wait_s), job)
    response.headers.update(preferred.applied_headers(wait_s))
    if job.status == "succeeded" and job.result is not None:
        return Verified.model_validate({**job.result, "job": job.id})
    if job.error is not None:
        code = job.error.code if job.error.code in CODES else "internal"
        raise Problem(code, job.error.message, extra={"job": str(job.id)})
    if job.status in FINAL_STATUSES:
        raise Problem("canceled", "The check was canceled.", extra={"job": str(job.id)})
    view = job_views.job_view(request, job).model_dump_json()
    return Response(view, 202, headers=job_views.polling_headers(job), media_type=_JSON)


async def _read_request(request: Request) -> VerifyRequest:
    """Read a JSON body, or save the file in any other body as an asset."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        return VerifyRequest(media=(await save_upload(request)).uri)
    body = await _read_json(request)
    try:
        return VerifyRequest.model_validate(json.loads(body))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise validation_problem([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from error
    except (ValueError, RecursionError) as error:
        raise Problem("malformed_request", "The body is not valid JSON.") from error


async def _read_json(request: Request) -> bytes:
    """Read a JSON body; the middleware limits bodies of this path to the size of an upload only."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > MAX_JSON_BYTES:
            raise too_large(MAX_JSON_BYTES)
    check_body(bytes(body))
    return bytes(body)
