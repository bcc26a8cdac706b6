"""Error responses: RFC 9457 problem documents, their codes and HTTP status, and exception handlers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.logging import LOGGER_NAME
from flows.schemas.base import error_detail
from tasks.errors import RenderError


@dataclass(frozen=True, slots=True)
class ProblemCode:
    """A published problem code. Codes are never renamed."""

    status: int
    title: str
    retryable: bool = False
    retry_after_s: int | None = None
    """Value of the Retry-After header, unless the error names another one."""


CODES: Mapping[str, ProblemCode] = {
    "invalid_input": ProblemCode(422, "Invalid input"),
    "malformed_request": ProblemCode(400, "Malformed request"),
    "unsupported_media": ProblemCode(422, "Unsupported media type of a file"),
    "no_face": ProblemCode(422, "No face found"),
    "no_audio": ProblemCode(422, "No audio found"),
    "input_too_large": ProblemCode(422, "An input exceeds a limit"),
    "input_not_found": ProblemCode(422, "An input does not exist"),
    "input_unreachable": ProblemCode(422, "An input could not be fetched"),
    "input_blocked": ProblemCode(422, "An input could not be fetched"),
    "local_path_disabled": ProblemCode(422, "Local paths of the server are not allowed as inputs"),
    "unknown_model": ProblemCode(422, "Unknown model"),
    "model_not_installed": ProblemCode(422, "The model is not installed"),
    "model_invalid": ProblemCode(422, "A weight file is damaged or belongs to another model"),
    "bucket_not_allowed": ProblemCode(403, "Access to the bucket is not allowed"),
    "unauthorized": ProblemCode(401, "A valid API key is required"),
    "forbidden": ProblemCode(403, "The API key lacks the required scope"),
    "manifest_invalid": ProblemCode(422, "Invalid batch manifest"),
    "quality_below_threshold": ProblemCode(422, "The quality of the video is below the limit of the job"),
    "step_failed": ProblemCode(409, "A step of the pipeline failed"),
    "request_timeout": ProblemCode(408, "The body of the request arrived too slowly", retryable=True),
    "link_invalid": ProblemCode(403, "The download link is not valid"),
    "origin_not_allowed": ProblemCode(403, "Pages of this origin may not use the API"),
    "not_found": ProblemCode(404, "Not found"),
    "no_preview": ProblemCode(404, "The job has no preview frame", retryable=True),
    "expired": ProblemCode(410, "No longer available"),
    "result_replaced": ProblemCode(410, "The result was replaced by another object"),
    "not_retryable": ProblemCode(409, "The job cannot be retried"),
    "in_use": ProblemCode(409, "In use by a job", retryable=True),
    "direct_not_offered": ProblemCode(409, "The store does not support direct uploads"),
    "pull_not_offered": ProblemCode(409, "Models cannot be installed from here"),
    "licence_not_accepted": ProblemCode(422, "The licence of the model was not accepted"),
    "offset_mismatch": ProblemCode(409, "The offset is not the offset of the upload"),
    "upload_locked": ProblemCode(
        423, "Another request is writing to the upload", retryable=True, retry_after_s=1
    ),
    "checksum_mismatch": ProblemCode(460, "The bytes received do not match their checksum", retryable=True),
    "tus_version_unsupported": ProblemCode(412, "The version of the tus protocol is not supported"),
    "not_ready": ProblemCode(409, "Not ready yet", retryable=True),
    "avatar_not_prepared": ProblemCode(409, "The avatar is not prepared"),
    "idempotency_mismatch": ProblemCode(422, "The idempotency key was used for another request"),
    "rate_limited": ProblemCode(429, "Rate limit exceeded", retryable=True),
    "concurrency_limited": ProblemCode(429, "Too many unfinished jobs or open uploads", retryable=True),
    "canceled": ProblemCode(409, "The job was canceled"),
    "deadline_exceeded": ProblemCode(409, "The job exceeded its deadline"),
    "engine_failed": ProblemCode(500, "The engine failed", retryable=True),
    "model_changed": ProblemCode(503, "A model was replaced while the job ran", retryable=True),
    "gpu_oom": ProblemCode(500, "The device ran out of memory", retryable=True),
    "encode_failed": ProblemCode(500, "The video could not be encoded"),
    "length_mismatch": ProblemCode(500, "Picture and sound are not equally long"),
    "disk_full": ProblemCode(507, "The disk is full"),
    "storage_unavailable": ProblemCode(502, "The storage is unavailable", retryable=True),
    "upload_failed": ProblemCode(502, "The result could not be stored", retryable=True),
    "orchestrator_unavailable": ProblemCode(
        503, "The job system is unavailable", retryable=True, retry_after_s=5
    ),
    "internal": ProblemCode(500, "Internal server error"),
}

COMPAT_ROUTES = ("/inference", "/status/", "/result/", "/job/", "/csm", "/portrait", "/whisper", "/analyze")
"""Path prefixes of the compatibility routes: 422 and 409 become 400 there, and `error` repeats `detail`."""

MAX_ERRORS = 50
"""Maximum number of errors in one response."""
MAX_TEXT_CHARS = 500
"""Maximum length of a pointer or a detail in `errors`, which can contain text of the request."""
NO_SCHEMAS: Mapping[str, type[BaseModel]] = {}
"""Schemas of a body that is not known: no similar field is suggested."""
_INVALID_INPUT_STATUS = 422


_log = logging.getLogger(LOGGER_NAME)


class Problem(HTTPException):
    """An error response. Derived from HTTPException so that FastAPI handles it in dependencies too."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Create a problem.

        Args:
            code:    a key of CODES.
            detail:  one sentence for the caller.
            status:  HTTP status, if it differs from the code's.
            errors:  one entry per error: pointer, code, detail.
            headers: headers of the response.
            extra:   further members of the document.
        """
        delay_s = CODES[code].retry_after_s
        default_headers = {"Retry-After": str(delay_s)} if delay_s is not None else {}
        super().__init__(status or CODES[code].status, detail, {**default_headers, **(headers or {})})
        self.code = code
        self.has_fixed_status = status is not None
        self.errors = list(errors)
        self.extra = dict(extra or {})


def install(app: FastAPI) -> None:
    """Add exception handlers that turn every error, including FastAPI's own, into a problem document."""
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(RenderError, _on_domain_error)
    app.add_exception_handler(httpx.HTTPError, _on_orchestrator_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unhandled)


def is_compat_route(path: str) -> bool:
    """Return whether a path belongs to the compatibility routes."""
    return path == "/" or path.startswith(COMPAT_ROUTES)


def problem_document(problem: Problem, path: str, request_id: str) -> tuple[int, dict[str, Any]]:
    """
    Return the HTTP status and the document of a problem.

    Args:
        problem:    the problem.
        path:       path of the request.
        request_id: id of the request, as in the log.
    """
    status = problem.status_code
    if is_compat_route(path) and status in {_INVALID_INPUT_STATUS, 409} and not problem.has_fixed_status:
        status = 400
    code = CODES[problem.code]
    body: dict[str, Any] = {
        "type": f"/docs/problems#{problem.code}",
        "title": code.title,
        "status": status,
        "detail": problem.detail,
        "instance": path,
        "code": problem.code,
        "request_id": request_id,
        "retryable": code.retryable,
    }
    if problem.errors:
        body["errors"] = problem.errors
    if is_compat_route(path) or status in {404, 405}:
        body["error"] = problem.detail
    return status, body | problem.extra


def problem_response(problem: Problem, request: Request) -> JSONResponse:
    """Return the JSON response for a problem."""
    request_id: str = getattr(request.state, "request_id", "")
    status, body = problem_document(problem, request.url.path, request_id)
    body["type"] = request.scope.get("root_path", "") + body["type"]
    return JSONResponse(body, status, dict(problem.headers or {}), "application/problem+json")


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Problem):
        return problem_response(error, request)
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    match status:
        case 404:
            problem = Problem("not_found", "Endpoint not found", headers=headers)
        case 405:
            problem = Problem("malformed_request", "Method not allowed", status=405, headers=headers)
        case _:
            detail = str(error.detail) if isinstance(error, HTTPException) else "the request failed"
            problem = Problem("malformed_request", detail, status=status, headers=headers)
    return problem_response(problem, request)


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    errors = error.errors() if isinstance(error, RequestValidationError) else ()
    body = getattr(request.scope.get("route"), "body_field", None)
    return problem_response(
        validation_problem(errors, _schemas(body and body.field_info.annotation)), request
    )


def _schemas(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the schema of a body by an empty name, or those of a union by the values of their `type`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {"": annotation}
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _schemas(parts[0])
    members = [one for one in parts if isinstance(one, type) and issubclass(one, BaseModel)]
    return {
        str(name): one
        for one in members
        if "type" in one.model_fields
        for name in get_args(one.model_fields["type"].annotation)
    }


def validation_problem(
    pydantic_errors: Sequence[Any], schemas: Mapping[str, type[BaseModel]] = NO_SCHEMAS
) -> Problem:
    """
    Convert pydantic's validation errors to a problem.

    Args:
        pydantic_errors: pydantic's error list; each `loc` starts with `body`, `query` or `path`.
        schemas:         schemas of the body by the name with which a `loc` begins; '' if it has one schema.
    """
    if any(fault["type"] == "json_invalid" for fault in pydantic_errors):
        return Problem("malformed_request", "The body is not valid JSON.")
    errors = [_to_error(fault, schemas) for fault in pydantic_errors[:MAX_ERRORS]]
    if not any(fault["loc"][0] != "path" for fault in pydantic_errors):
        return Problem("malformed_request", errors[0]["detail"], errors=errors)
    first = errors[0]
    others = len(pydantic_errors) - 1
    listed = "in errors" if others < MAX_ERRORS else f"of which {len(errors) - 1} in errors"
    more = f" ({others} more, {listed})" if others >= MAX_ERRORS else f" ({others} more {listed})"
    more = more if others else ""
    return Problem(first["code"], f"{first['pointer']}: {first['detail']}{more}", errors=errors)


def _to_error(fault: Mapping[str, Any], schemas: Mapping[str, type[BaseModel]]) -> dict[str, str]:
    location = [str(part) for part in fault["loc"]]
    inside = location[1:]
    if inside and inside[0] in schemas:  # the name of a union's member, which is not in the body
        schemas, inside = {"": schemas[inside[0]]}, inside[1:]
    pointer = "#/" + "/".join(inside) if location[0] == "body" else " ".join(location[:2])
    code = fault["type"] if fault["type"] in CODES else "invalid_input"
    detail = error_detail(fault, schemas.values(), inside)
    return {"pointer": pointer[:MAX_TEXT_CHARS], "code": code, "detail": detail[:MAX_TEXT_CHARS]}


def _on_domain_error(request: Request, error: Exception) -> JSONResponse:
    code: str = getattr(error, "code", "internal")
    return problem_response(Problem(code if code in CODES else "internal", str(error)), request)


def _on_orchestrator_error(request: Request, error: Exception) -> JSONResponse:
    """Answer a failed request to the Prefect server; the API sends requests of httpx to no other server."""
    request_id: str = getattr(request.state, "request_id", "")
    _log.error("Prefect: %s", type(error).__name__, exc_info=error, extra={"request_id": request_id})
    return problem_response(
        Problem("orchestrator_unavailable", "The Prefect server cannot be reached."), request
    )


def _on_disconnect(request: Request, error: Exception) -> JSONResponse:
    """Return a response that is never sent, so that a disconnected client is not logged as an error."""
    return problem_response(
        Problem("malformed_request", "The connection closed before the whole body was received."), request
    )


def _on_unhandled(request: Request, error: Exception) -> JSONResponse:
    """Log the exception and hide its text from the caller, because it may contain paths and addresses."""
    request_id: str = getattr(request.state, "request_id", "")
    _log.error("unexpected %s", type(error).__name__, exc_info=error, extra={"request_id": request_id})
    return problem_response(
        Problem("internal", "Internal server error. The server's log has details under the request id."),
        request,
    )
