"""Error responses: RFC 9457 problem documents, their codes and HTTP status, and exception handlers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.logs import LOGGER
from tasks.errors import RenderError


@dataclass(frozen=True, slots=True)
class Code:
    """A published problem code. Codes are never renamed."""

    status: int
    title: str
    retryable: bool = False


CODES: Mapping[str, Code] = {
    "invalid_input": Code(422, "Invalid input"),
    "malformed_request": Code(400, "Malformed request"),
    "unsupported_media": Code(422, "Unsupported media type of a file"),
    "no_face": Code(422, "No face found"),
    "no_audio": Code(422, "No audio found"),
    "input_too_large": Code(422, "An input exceeds a limit"),
    "input_not_found": Code(422, "An input does not exist"),
    "input_unreachable": Code(422, "An input could not be fetched"),
    "input_blocked": Code(422, "An input could not be fetched"),
    "local_path_disabled": Code(422, "Local paths of the server are not allowed as inputs"),
    "unknown_model": Code(422, "Unknown model"),
    "model_not_installed": Code(422, "The model is not installed"),
    "model_invalid": Code(422, "A weight file is damaged or belongs to another model"),
    "bucket_not_allowed": Code(403, "Access to the bucket is not allowed"),
    "unauthorized": Code(401, "A valid API key is required"),
    "forbidden": Code(403, "The API key lacks the required scope"),
    "manifest_invalid": Code(422, "Invalid batch manifest"),
    "step_failed": Code(409, "A step of the pipeline failed"),
    "origin_not_allowed": Code(403, "Pages of this origin may not use the API"),
    "not_found": Code(404, "Not found"),
    "expired": Code(410, "No longer available"),
    "result_replaced": Code(410, "The result was replaced by another object"),
    "not_retryable": Code(409, "The job cannot be retried"),
    "in_use": Code(409, "In use by a job", retryable=True),
    "direct_not_offered": Code(409, "The store does not support direct uploads"),
    "not_ready": Code(409, "Not ready yet", retryable=True),
    "avatar_not_prepared": Code(409, "The avatar is not prepared"),
    "idempotency_mismatch": Code(422, "The idempotency key was used for another request"),
    "rate_limited": Code(429, "Rate limit exceeded", retryable=True),
    "concurrency_limited": Code(429, "Too many unfinished jobs", retryable=True),
    "canceled": Code(409, "The job was canceled"),
    "deadline_exceeded": Code(409, "The job exceeded its deadline"),
    "engine_failed": Code(500, "The engine failed", retryable=True),
    "model_changed": Code(503, "A model was replaced while the job ran", retryable=True),
    "gpu_oom": Code(500, "The device ran out of memory", retryable=True),
    "encode_failed": Code(500, "The video could not be encoded"),
    "disk_full": Code(507, "The disk is full"),
    "storage_unavailable": Code(502, "The storage is unavailable", retryable=True),
    "upload_failed": Code(502, "The result could not be stored", retryable=True),
    "orchestrator_unavailable": Code(503, "The job system is unavailable", retryable=True),
    "internal": Code(500, "Internal server error"),
}

SEED_ROUTES = ("/inference", "/status/", "/result/", "/job/", "/csm", "/portrait", "/whisper", "/analyze")
"""Path prefixes of the compatibility routes: 422 and 409 become 400 there, and `error` repeats `detail`."""

_INPUT_STATUS = 422


_log = logging.getLogger(LOGGER)


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
        super().__init__(status or CODES[code].status, detail, dict(headers or {}))
        self.code = code
        self.fixed_status = status is not None
        self.errors = list(errors)
        self.extra = dict(extra or {})


def install(app: FastAPI) -> None:
    """Add exception handlers that turn every error, including FastAPI's own, into a problem document."""
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(RenderError, _on_error_of_ours)
    app.add_exception_handler(ClientDisconnect, _on_lost_client)
    app.add_exception_handler(Exception, _on_surprise)


def is_seed_route(path: str) -> bool:
    """Return whether a path belongs to the compatibility routes."""
    return path == "/" or path.startswith(SEED_ROUTES)


def document(problem: Problem, path: str, request_id: str) -> tuple[int, dict[str, Any]]:
    """
    Return the HTTP status and the document of a problem.

    Args:
        problem:    the problem.
        path:       path of the request.
        request_id: id of the request, as in the log.
    """
    status = problem.status_code
    if is_seed_route(path) and status in {_INPUT_STATUS, 409} and not problem.fixed_status:
        status = 400
    known = CODES[problem.code]
    body: dict[str, Any] = {
        "type": f"/docs/problems#{problem.code}",
        "title": known.title,
        "status": status,
        "detail": problem.detail,
        "instance": path,
        "code": problem.code,
        "request_id": request_id,
        "retryable": known.retryable,
    }
    if problem.errors:
        body["errors"] = problem.errors
    if is_seed_route(path) or status in {404, 405}:
        body["error"] = problem.detail
    return status, body | problem.extra


def answer(problem: Problem, request: Request) -> JSONResponse:
    """Return the JSON response for a problem."""
    request_id: str = getattr(request.state, "request_id", "")
    status, body = document(problem, request.url.path, request_id)
    return JSONResponse(body, status, dict(problem.headers or {}), "application/problem+json")


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Problem):
        return answer(error, request)
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
    return answer(problem, request)


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    return answer(invalid(found), request)


def invalid(found: Sequence[Any]) -> Problem:
    """
    Convert pydantic's validation errors to a problem.

    Args:
        pydantic_errors: pydantic's error list; each `loc` starts with `body`, `query` or `path`.
    """
    if any(fault["type"] == "json_invalid" for fault in found):
        return Problem("malformed_request", "The body is not valid JSON.")
    errors = [_fault(fault) for fault in found]
    if not any(fault["loc"][0] != "path" for fault in found):
        return Problem("malformed_request", errors[0]["detail"], errors=errors)
    first = errors[0]
    more = f" ({len(errors) - 1} more in errors)" if len(errors) > 1 else ""
    return Problem(first["code"], f"{first['pointer']}: {first['detail']}{more}", errors=errors)


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    place = [str(part) for part in fault["loc"]]
    pointer = "#/" + "/".join(place[1:]) if place[0] == "body" else f"{place[0]} {place[-1]}"
    code = fault["type"] if fault["type"] in CODES else "invalid_input"
    return {"pointer": pointer, "code": code, "detail": fault["msg"].removeprefix("Value error, ")}


def _on_error_of_ours(request: Request, error: Exception) -> JSONResponse:
    code: str = getattr(error, "code", "internal")
    return answer(Problem(code if code in CODES else "internal", str(error)), request)


def _on_lost_client(request: Request, error: Exception) -> JSONResponse:
    """Return a response that is never sent, so that a disconnected client is not logged as an error."""
    return answer(
        Problem("malformed_request", "The connection closed before the whole body was received."), request
    )


def _on_surprise(request: Request, error: Exception) -> JSONResponse:
    """Log the exception and hide its text from the caller, because it may contain paths and addresses."""
    request_id: str = getattr(request.state, "request_id", "")
    _log.error("unexpected %s", type(error).__name__, exc_info=error, extra={"request_id": request_id})
    return answer(
        Problem("internal", "Internal server error. The server's log has details under the request id."),
        request,
    )
