"""CORS for configured origins, and rejection of cross-origin requests on an API without keys."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware

from api.errors import Problem
from tasks.settings import ApiSettings, get_settings

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ALLOWED_METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE")
_ALLOWED_HEADERS: Final = (
    "Authorization",
    "Cancel-After",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-C3-RENDER-KEY",
    "X-HTTP-Method-Override",
    "X-Request-ID",
)
_EXPOSED_HEADERS: Final = (
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Asset",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
)
"""Request headers that pages of an allowed origin may send, and response headers that they may read."""
_PREFLIGHT_MAX_AGE_S: Final = 600


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """
    Add CORS for some origins. Without origins no CORS headers are sent, so browsers block other pages.

    Credentials (cookies) are not allowed: a page sends an API key like any other client.

    Args:
        app:     the app; its other middleware must have been added before.
        origins: allowed values of the `Origin` header.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=_ALLOWED_METHODS,
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
            max_age=_PREFLIGHT_MAX_AGE_S,
        )


async def require_same_origin(request: Request) -> None:
    """
    Reject state-changing requests from pages of another origin if the API requires no key.

    Browsers send some requests, such as a form with a file, without a CORS preflight. Without API keys,
    every page open in a browser on this computer could otherwise submit jobs.

    Raises:
        Problem: `origin_not_allowed`.
    """
    api = get_settings().api
    if request.method in _SAFE_METHODS or api.keys or api.keys_file is not None:
        return
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    is_same_origin = (
        site in {"same-origin", "none"} if site else origin is None or _is_api_origin(origin, request, api)
    )
    if not is_same_origin and origin not in api.allowed_origins:
        raise Problem(
            "origin_not_allowed",
            "Pages of this origin may not use the API. An operator can allow the origin with"
            " MUSETALK_API__ALLOWED_ORIGINS.",
        )


def _is_api_origin(origin: str, request: Request, api: ApiSettings) -> bool:
    """Return whether an origin is the API's own, by the Host header or, behind a proxy, by `public_url`."""
    hosts = {request.headers.get("host"), urlsplit(api.public_url).netloc if api.public_url else None}
    return origin.partition("://")[2] in hosts
