"""Routes of the studio: its page at /studio and at the address of each view, and its static files."""

from fastapi import APIRouter, Request, Response

from api.auth.api_keys import PUBLIC
from api.studio.page import page_response
from api.studio.static_files import file_response

# public: the page holds no data; its requests to /v1 send the API key that the user enters
router = APIRouter(prefix="/studio", include_in_schema=False, dependencies=[PUBLIC])


@router.get("/static/{digest}/{path:path}")
async def read_static_file(request: Request, digest: str, path: str) -> Response:
    """Return a static file of the studio."""
    return file_response(request, path, digest)


@router.get("")
@router.get("/{view:path}")
async def read_page(request: Request) -> Response:
    """Return the page; it shows the view that its address names."""
    return page_response(request)
