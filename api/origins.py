"""Browsers: whose pages may use the API. Programs send no `Origin` and notice nothing of this."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware

from api.problems import Problem
from tasks.settings import ApiSettings, get_settings

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = ("GET", "HEAD", "POST", "DELETE")
_SENT: Final = (
    "Authorization",
    "Cancel-After",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-C3-RENDER-KEY",
    "X-Request-ID",
)
_TOLD: Final = (
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
)
"""What a page of an allowed origin may send and see, besides what every page may."""
_REMEMBERED_S: Final = 600


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """
    Let pages of some origins use the API from a browser; of none, nothing is said and browsers refuse.

    Cookies are no part of it: a page sends a key, as any client does.

    Args:
        app:     the app, with everything else around it already.
        origins: as browsers write them.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_SENT,
            expose_headers=_TOLD,
            max_age=_REMEMBERED_S,
        )


async def require_own_page(request: Request) -> None:
    """
    Where no key is asked for, refuse what a page of another origin wants changed.

    A browser sends some requests for any page without asking first, such as a form with a file. To reach the
    port is all that a keyless API asks of a caller, and every page in a browser on this computer can do that.

    Raises:
        Problem: `origin_not_allowed`.
    """
    api = get_settings().api
    if request.method in _READING or api.keys or api.keys_file is not None:
        return
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    own = site in {"same-origin", "none"} if site else origin is None or _is_own(origin, request, api)
    if not own and origin not in api.allowed_origins:
        raise Problem(
            "origin_not_allowed",
            "A page of another origin may not use this API; an operator can allow it with"
            " MUSETALK_API__ALLOWED_ORIGINS.",
        )


def _is_own(origin: str, request: Request, api: ApiSettings) -> bool:
    """Tell whether a page is of the address that it asks; a proxy may have given us another name for it."""
    hosts = {request.headers.get("host"), urlsplit(api.public_url).netloc if api.public_url else None}
    return origin.partition("://")[2] in hosts
