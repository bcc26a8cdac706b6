"""The root path: the studio's page for browsers, and the C3 Render API's status for all other clients."""

import re
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api.auth.api_keys import PUBLIC
from api.schemas.job_views import legacy_timestamp
from api.studio.page import page_response

router = APIRouter(tags=["compatibility routes"], dependencies=[PUBLIC])

_QUALITY: Final = re.compile(r";\s*q=([0-9.]{1,5})\s*(?:;|$)")
_RESPONSES: Final[Any] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "The status, or the page."}
}


@router.get("/", response_model=dict[str, str], responses=_RESPONSES)
async def read_root(request: Request) -> Response:
    """Report that the service runs, as the C3 Render API did; browsers get the studio's page."""
    if _prefers_html(request.headers.get("accept", "")):
        return await page_response(request, vary="Accept")
    status = {"status": "C3 Render API is running", "timestamp": legacy_timestamp()}
    return JSONResponse(status, headers={"Vary": "Accept"})


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
