"""The root path: a page with links for browsers, and the C3 Render API's status for all other clients."""

import re
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from api.auth.api_keys import PUBLIC
from api.docs.page import STYLE
from api.schemas.job_views import legacy_timestamp

router = APIRouter(tags=["compatibility routes"], dependencies=[PUBLIC])

_QUALITY: Final = re.compile(r";\s*q=([0-9.]{1,5})\s*(?:;|$)")
_LINKS: Final = (
    ("/docs", "API documentation", "all routes, with forms to try them"),
    ("/docs/problems", "Problem codes", "the codes in error responses"),
    ("/openapi.json", "OpenAPI description", "for client generators"),
    ("/readyz", "Readiness", "Prefect, workers, store and disk space"),
    ("/metrics", "Metrics", "in Prometheus' text format"),
)
_RESPONSES: Final[Any] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "The status, or the page."}
}


@router.get("/", response_model=dict[str, str], responses=_RESPONSES)
async def read_root(request: Request) -> Response:
    """Report that the service runs, as the C3 Render API did; browsers get a page with links."""
    headers = {"Vary": "Accept"}
    if _prefers_html(request.headers.get("accept", "")):
        return HTMLResponse(_page(), headers=headers)
    status = {"status": "C3 Render API is running", "timestamp": legacy_timestamp()}
    return JSONResponse(status, headers=headers)


def _prefers_html(accept: str) -> bool:
    """Return whether a client names text/html, as browsers do, and does not prefer JSON to it."""
    html = _quality(accept, "text/html")
    return html > 0 and html >= _quality(accept, "application/json")


def _quality(accept: str, media_type: str) -> float:
    """Return the weight of a media type that an Accept header names, 0 if it does not name it."""
    for part in accept.split(","):
        name, _, parameters = part.partition(";")
        if name.strip().lower() == media_type:
            match = _QUALITY.search(f";{parameters}")
            try:
                return float(match[1]) if match else 1.0
            except ValueError:
                return 0.0
    return 0.0


def _page() -> str:
    rows = "".join(
        f"<tr><td><a href={path}>{title}</a><td>{description}" for path, title, description in _LINKS
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>musetalk-flows</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><h1>musetalk-flows {version('musetalk-flows')}</h1>"
        "<p>This server renders lip-synced video, talking portraits and speech as queued jobs."
        f"<table>{rows}</table>"
        "<p>Jobs are submitted to <code>/v1/jobs</code>. Prefect's pages show them with their tasks and logs."
    )
