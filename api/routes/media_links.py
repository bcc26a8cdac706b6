"""Routes that give signed links to media: for elements of web pages and players, which send no API key."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from api.auth.api_keys import READ
from api.dependencies import JobsDep
from api.jobs.outputs import output_files
from api.routes.file_responses import missing_file_problem
from api.schemas.job_views import signed_file_url
from tasks.catalog.assets import asset_name
from tasks.catalog.download_links import sign_asset_link

router = APIRouter()

_DAY_S = 86_400
Lifetime = Annotated[int, Query(ge=60, le=_DAY_S, description="Seconds after which the links are refused.")]


class FileLink(BaseModel):
    """A signed link to a file, which works without an API key."""

    name: str
    url: str = Field(description="Supports Range requests and never redirects.")


class FileLinks(BaseModel):
    """Signed links to the output files of a job, the main file first."""

    files: list[FileLink]
    expires_at: datetime


class AssetLink(FileLink):
    """A signed link to an upload."""

    expires_at: datetime


@router.get("/v1/jobs/{job_id}/links", name="read_links", tags=["jobs"], dependencies=[READ])
async def read_links(request: Request, jobs: JobsDep, job_id: UUID, lifetime_s: Lifetime = 3600) -> FileLinks:
    """Return a signed link to each output file of a job. Deleting the job revokes them."""
    job = await jobs.read(job_id)
    files = output_files(job)
    if not files:
        raise missing_file_problem(job.status)
    expires_at = _expiry(lifetime_s)
    links = [
        FileLink(name=file.name, url=signed_file_url(request, job, file, int(expires_at.timestamp())))
        for file in files
    ]
    return FileLinks(files=links, expires_at=expires_at)


@router.get("/v1/assets/{asset}/link", name="read_asset_link", tags=["assets"], dependencies=[READ])
async def read_asset_link(request: Request, asset: str, lifetime_s: Lifetime = 3600) -> AssetLink:
    """Return a signed link to an upload. Deleting the upload revokes it."""
    name = await to_thread.run_sync(asset_name, asset)  # refuses the uploads of other tenants
    expires_at = _expiry(lifetime_s)
    expires = int(expires_at.timestamp())
    url = request.url_for("read_signed_asset", asset=asset).include_query_params(
        expires=expires, signature=sign_asset_link(asset, expires)
    )
    return AssetLink(name=name, url=str(url), expires_at=expires_at)


def _expiry(lifetime_s: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=lifetime_s)
