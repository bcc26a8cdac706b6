"""ASGI middleware: request id, body limits, media type check, security headers, access log and metrics."""

import logging
import re
import time
from collections.abc import Callable
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem, problem_response
from api.http import tus
from api.http.body_guard import BodyGuard, BodyLimits, too_large
from api.http.metrics import Metrics
from api.logging import LOGGER_NAME, escaped
from tasks.settings import ApiSettings
from tasks.tracing.handle import SpanHandle
from tasks.tracing.spans import NO_SPAN, span
from tasks.tracing.traceparent import TRACEPARENT_HEADER

MAX_JSON_BYTES = 1_000_000
_UPLOAD_PATHS = frozenset({"/v1/assets", "/v1/verify"})
"""Paths of requests whose body may be a file, beside those of resumable uploads."""
_UNLOGGED_PATHS = frozenset({"/healthz", "/startupz", "/metrics"})
"""Polled every few seconds by monitoring: counted in the metrics, not logged."""
_UNTRACED_PATHS = _UNLOGGED_PATHS | {"/readyz"}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FIRST_SERVER_ERROR = 500
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_HTML_CSP = (  # Swagger UI's page has an inline script and inline styles
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_BUCKET_EVENTS_PATH, _TEXT_TYPE = "/v1/events/s3", "text/plain"
"""Amazon SNS sends JSON as text/plain to this path."""
_REPORT_PATH, _REPORT_TYPE = "/studio/csp-report", "application/csp-report"
"""Browsers report violations of the studio's policy to this path, without a key."""
_MAX_REPORT_BYTES = 16_000
_LENGTH_PATTERN = re.compile(r"[0-9]{1,18}")
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")


_log = logging.getLogger(LOGGER_NAME)


class RequestMiddleware:
    """The ASGI middleware around the whole app."""

    def __init__(
        self, app: ASGIApp, settings: ApiSettings, metrics: Metrics, check_access: Callable[[Scope], None]
    ) -> None:
        """
        Wrap an app.

        Args:
            app:          the next ASGI app.
            settings:     limits of bodies; bodies of other requests than uploads have MAX_JSON_BYTES.
            metrics:      metrics that count the responses.
            check_access: called before the body of a request is read, when its route is known.
        """
        self._app = app
        self._upload_limits = BodyLimits(
            settings.max_upload_bytes, settings.upload_timeout_s, settings.upload_min_bytes_per_s
        )
        self._other_limits = BodyLimits(MAX_JSON_BYTES, settings.body_timeout_s)
        self._report_limits = BodyLimits(_MAX_REPORT_BYTES, settings.body_timeout_s)
        self._metrics = metrics
        self._check_access = check_access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request: assign its id, reject invalid bodies, and pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in _UNTRACED_PATHS:
            await self._handle(scope, receive, send, NO_SPAN)
            return
        parent = Headers(scope=scope).get(TRACEPARENT_HEADER)
        with span("HTTP", kind="server", parent=parent) as request_span:
            await self._handle(scope, receive, send, request_span)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_span: SpanHandle) -> None:
        headers = Headers(scope=scope)
        client_request_id = headers.get("x-request-id", "")
        request_id = client_request_id if _REQUEST_ID_PATTERN.fullmatch(client_request_id) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started_at = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                _add_security_headers(response_headers, request_id)
                if tus.is_upload_path(scope["path"]):
                    response_headers.setdefault("Tus-Resumable", tus.VERSION)
                _describe_span(request_span, scope, message["status"])
                self._log_response(scope, message["status"], time.perf_counter() - started_at)
            await send(message)

        is_upload = takes_file(scope["path"])
        limits = self._upload_limits if is_upload else self._other_limits
        if scope["path"] == _REPORT_PATH:
            limits = self._report_limits
        problem = _reject(headers, scope["path"], limits.bytes, wants_json=not is_upload)
        if problem is not None:
            await problem_response(problem, Request(scope))(scope, receive, send_with_headers)
            return
        guard = BodyGuard(receive, limits, lambda: self._check_access(scope))
        await self._app(scope, guard, send_with_headers)

    def _log_response(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a response and write the access log."""
        route = getattr(scope.get("route"), "path", "none")  # "none": no route matches the path
        self._metrics.count_response(scope["method"], route, status, seconds)
        path = escaped(scope["path"])
        if path in _UNLOGGED_PATHS:
            return
        state = scope["state"]
        log_fields = {
            "request_id": state["request_id"],
            "method": scope["method"],
            "path": path,
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        if caller := state.get("caller"):
            log_fields["caller"] = caller.name
        _log.info("%s %s %d", scope["method"], path, status, extra=log_fields)


def _describe_span(request_span: SpanHandle, scope: Scope, status: int) -> None:
    """Name a span by its route, which is known once the app responds; never by its path, which holds ids."""
    method = scope["method"] if scope["method"] in _METHODS else "HTTP"
    route = getattr(scope.get("route"), "path", "none")
    request_span.rename(f"{method} {route}")
    request_span.set({"http.method": method, "http.route": route, "http.status_code": status})
    if status >= _FIRST_SERVER_ERROR:
        request_span.fail(str(status))


def takes_file(path: str) -> bool:
    """Return whether the body of a request to a path may be a file, or a part of one."""
    return path in _UPLOAD_PATHS or tus.is_upload_path(path)


def _add_security_headers(headers: MutableHeaders, request_id: str) -> None:
    """Add the request id and the security headers to a response."""
    headers["X-Request-ID"] = request_id
    for name, value in _SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if headers.get("content-type", "").startswith("text/html"):
        headers.setdefault("Content-Security-Policy", _HTML_CSP)


def _reject(headers: Headers, path: str, limit: int, wants_json: bool) -> Problem | None:
    length = headers.get("content-length", "0")
    if not _LENGTH_PATTERN.fullmatch(length):
        return Problem("malformed_request", "Content-Length is not a number.")
    if int(length) > limit:
        return too_large(limit)
    has_body = int(length) > 0 or "transfer-encoding" in headers
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    # text/plain needs no CORS preflight, but a page of another origin cannot send Authorization without one
    if media_type == _TEXT_TYPE and "authorization" in headers and path == _BUCKET_EVENTS_PATH:
        return None
    if media_type == _REPORT_TYPE and path == _REPORT_PATH:
        return None
    if has_body and wants_json and media_type != "application/json" and not media_type.endswith("+json"):
        return Problem("malformed_request", "Send JSON, with Content-Type: application/json.", status=415)
    return None
