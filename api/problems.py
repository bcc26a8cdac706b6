"""Every answer that is not a success: one RFC 9457 document, its codes and their HTTP status."""

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
    """One published code; never renamed."""

    status: int
    title: str
    retryable: bool = False


CODES: Mapping[str, Code] = {
    "invalid_input": Code(422, "The request cannot be carried out as it is"),
    "malformed_request": Code(400, "The request cannot be read"),
    "unsupported_media": Code(422, "The file is not the kind of media that was expected"),
    "no_face": Code(422, "No face was found"),
    "no_audio": Code(422, "No sound was found"),
    "input_too_large": Code(422, "An input is over a limit"),
    "input_not_found": Code(422, "An input does not exist"),
    "input_unreachable": Code(422, "An input could not be fetched"),
    "input_blocked": Code(422, "An input could not be fetched"),
    "local_path_disabled": Code(422, "Paths of the server are not inputs"),
    "unknown_model": Code(422, "There is no such model"),
    "model_not_installed": Code(422, "The model is not installed here"),
    "model_invalid": Code(422, "A weight file of the model is damaged or belongs to another one"),
    "bucket_not_allowed": Code(403, "The bucket is outside what may be used"),
    "unauthorized": Code(401, "A key is needed"),
    "forbidden": Code(403, "The key does not allow this"),
    "manifest_invalid": Code(422, "The rows make no batch"),
    "step_failed": Code(409, "A step of the pipeline failed"),
    "origin_not_allowed": Code(403, "Pages of this origin may not use the API"),
    "not_found": Code(404, "Not found"),
    "expired": Code(410, "No longer kept"),
    "result_replaced": Code(410, "The result was replaced by another object"),
    "not_retryable": Code(409, "The job is not one to do again"),
    "in_use": Code(409, "A job works with it", retryable=True),
    "direct_not_offered": Code(409, "The store takes no direct uploads"),
    "not_ready": Code(409, "Not ready yet", retryable=True),
    "avatar_not_prepared": Code(409, "The avatar is not prepared"),
    "idempotency_mismatch": Code(422, "The idempotency key was used for another request"),
    "rate_limited": Code(429, "Too many requests in too short a time", retryable=True),
    "concurrency_limited": Code(429, "Too many jobs at a time", retryable=True),
    "canceled": Code(409, "The job was canceled"),
    "deadline_exceeded": Code(409, "The job ran out of time"),
    "engine_failed": Code(500, "The engine failed", retryable=True),
    "model_changed": Code(503, "A model was replaced while the job ran", retryable=True),
    "gpu_oom": Code(500, "The device ran out of memory", retryable=True),
    "encode_failed": Code(500, "The video could not be written"),
    "disk_full": Code(507, "The disk is full"),
    "storage_unavailable": Code(502, "The storage did not answer", retryable=True),
    "upload_failed": Code(502, "The result could not be stored", retryable=True),
    "orchestrator_unavailable": Code(503, "The job system did not answer", retryable=True),
    "internal": Code(500, "Something went wrong here"),
}

SEED_ROUTES = ("/inference", "/status/", "/result/", "/job/", "/csm", "/portrait", "/whisper", "/analyze")
"""Routes of the two older services: every refusal of a request's content is a 400, and `error` is filled."""

_INPUT_STATUS = 422


_log = logging.getLogger(LOGGER)


class Problem(HTTPException):
    """An answer that is not a success. A subclass of HTTPException so that it passes through FastAPI."""

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
        Describe what went wrong.

        Args:
            code:    a key of CODES.
            detail:  one plain sentence for the caller.
            status:  HTTP status when it differs from the code's own.
            errors:  one entry per fault: pointer, code, detail.
            headers: headers of the answer.
            extra:   further members of the document.
        """
        super().__init__(status or CODES[code].status, detail, dict(headers or {}))
        self.code = code
        self.fixed_status = status is not None
        self.errors = list(errors)
        self.extra = dict(extra or {})


def install(app: FastAPI) -> None:
    """Make every error of an app, the framework's own included, a problem document."""
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(RenderError, _on_error_of_ours)
    app.add_exception_handler(ClientDisconnect, _on_lost_client)
    app.add_exception_handler(Exception, _on_surprise)


def is_seed_route(path: str) -> bool:
    """Tell whether a path belongs to the two older services."""
    return path == "/" or path.startswith(SEED_ROUTES)


def document(problem: Problem, path: str, request_id: str) -> tuple[int, dict[str, Any]]:
    """
    Write a problem down.

    Args:
        problem:    what went wrong.
        path:       path of the request.
        request_id: id that the log carries too.

    Returns:
        HTTP status and the document.
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
    """Turn a problem into the answer to a request."""
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
    Describe what pydantic found wrong with a request.

    Args:
        found: pydantic's error list; places start with `body`, `query` or `path`.
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
    """Answer into the void: that a client went away is no fault for the log."""
    return answer(Problem("malformed_request", "The connection ended before the body did."), request)


def _on_surprise(request: Request, error: Exception) -> JSONResponse:
    """Say nothing of what happened to the caller: such texts may hold paths and addresses. The log has it."""
    request_id: str = getattr(request.state, "request_id", "")
    _log.error("unexpected %s", type(error).__name__, exc_info=error, extra={"request_id": request_id})
    return answer(
        Problem("internal", "Something went wrong here; the log has it under the request id."), request
    )
