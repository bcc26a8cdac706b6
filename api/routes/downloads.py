"""Routes of signed download links, which need no API key."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.auth.api_keys import PUBLIC
from api.dependencies import AllJobsDep
from api.jobs import downloads
from api.jobs.outputs import output_files
from api.routes.file_responses import FILE_RESPONSES, missing_file_problem
from tasks.catalog.download_links import verify_asset_link, verify_link
from tasks.run.tenancy import set_current_tenant

# public: the signature in the query replaces the API key
router = APIRouter(prefix="/v1/downloads", tags=["jobs"], dependencies=[PUBLIC])


Expires = Annotated[int, Query(ge=0, le=2**53, description="Unix time after which the link is refused.")]
Signature = Annotated[str, Query(max_length=100)]


@router.head("/assets/{asset}", include_in_schema=False, response_model=None, name="head_signed_asset")
@router.get("/assets/{asset}", response_model=None, response_class=Response, responses=FILE_RESPONSES)
async def read_signed_asset(request: Request, asset: str, expires: Expires, signature: Signature) -> Response:
    """Download an upload with a signed link. Requires no key and supports Range requests."""
    verify_asset_link(asset, expires, signature)
    set_current_tenant(None)  # the link was given to a caller that may use the upload
    response = await downloads.asset_response(request, asset)
    response.headers["Cache-Control"] = "private"
    return response


@router.head("/{job_id}/{name}", include_in_schema=False, response_model=None, name="head_signed_file")
@router.get("/{job_id}/{name}", response_model=None, response_class=Response, responses=FILE_RESPONSES)
async def read_signed_file(
    request: Request,
    jobs: AllJobsDep,
    job_id: UUID,
    name: str,
    expires: Expires,
    signature: Signature,
) -> Response:
    """
    Download an output file with a signed link, as /v1/jobs/{id}/links and compatibility routes return it.

    Requires no key and never redirects; supports Range requests. Deleting the job revokes the link.
    """
    verify_link(job_id, name, expires, signature)
    job = await jobs.read(job_id)
    set_current_tenant(job.control.tenant)
    for file in output_files(job):
        if file.name == name:
            response = await downloads.file_response(request, file, may_redirect=False)
            response.headers["Cache-Control"] = "private"
            return response
    raise missing_file_problem(job.status)
