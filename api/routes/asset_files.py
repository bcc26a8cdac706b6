"""Route to read an upload back."""

from fastapi import APIRouter, Request, Response

from api.auth.api_keys import READ
from api.jobs import downloads
from api.routes.file_responses import FILE_RESPONSES

router = APIRouter(prefix="/v1/assets", tags=["assets"])


@router.head("/{asset}", include_in_schema=False, response_model=None, name="head_asset", dependencies=[READ])
@router.get(
    "/{asset}",
    response_model=None,
    response_class=Response,
    responses=FILE_RESPONSES,
    name="read_asset",
    dependencies=[READ],
)
async def read_asset(request: Request, asset: str) -> Response:
    """Download an uploaded file; supports Range requests."""
    return await downloads.asset_response(request, asset)
