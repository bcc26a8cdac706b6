"""Routes of direct uploads in parts: the client sends parts to the bucket with presigned links."""

from datetime import datetime
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api.auth.api_keys import SUBMIT
from api.http import tus
from api.http.body_guard import too_large
from api.http.metrics import Metrics
from api.http.path_prefix import path_prefix
from api.routes.assets import Asset, DirectUpload
from api.routes.resumable_uploads.routes import UploadId
from tasks.catalog.resumable_uploads import (
    PART_LINK_LIFETIME_S,
    ResumableUpload,
    find_upload,
    missing_parts,
    start_upload,
)
from tasks.settings import get_settings
from tasks.storage.s3_appends import PartLink, part_size

router = APIRouter(tags=["resumable uploads"])

_MAX_PARTS: Final = 100


class AnnouncedFile(BaseModel):
    """A file that the client will send to the bucket in parts."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=255, examples=["anna.mp4"])
    size: int = Field(ge=1, le=5_000_000_000_000, description="Exact size of the file in bytes.")


class DirectPartsUpload(Asset):
    """An upload whose parts go to the bucket. The asset exists when all parts have arrived."""

    size: int
    part_bytes: int = Field(description="Size of each part but the last.")
    part_count: int
    parts_url: str = Field(description="Returns links for the parts that are missing.")
    url: str = Field(description="Returns the progress, and completes the upload when no part is missing.")
    expires_at: datetime


class UploadPart(BaseModel):
    """A part that is missing in the bucket, and the request that sends it."""

    number: int
    offset: int = Field(description="Position of its first byte in the file.")
    size: int
    upload: DirectUpload


class UploadParts(BaseModel):
    """Parts that are missing, in order."""

    parts: list[UploadPart] = Field(description="Empty when all parts have arrived.")


@router.post("/v1/assets/direct/multipart", status_code=201, dependencies=[SUBMIT])
async def create_direct_upload(request: Request, file: AnnouncedFile) -> DirectPartsUpload:
    """Create an upload whose parts the client sends to the bucket with presigned links."""
    limit = get_settings().api.max_upload_bytes
    if file.size > limit:
        raise too_large(limit)
    upload = await to_thread.run_sync(lambda: start_upload(file.name, file.size, is_direct=True))
    metrics: Metrics = request.app.state.metrics
    metrics.count_upload("created")
    return _view(upload, path_prefix(request.scope))


@router.get(f"{tus.PREFIX}/{{upload_id}}/parts", dependencies=[SUBMIT])
async def read_missing_parts(
    upload_id: UploadId,
    limit: Annotated[int, Query(ge=1, le=_MAX_PARTS, description="Maximum number of parts.")] = _MAX_PARTS,
) -> UploadParts:
    """Return the first missing parts of a direct upload, each with a presigned link to send it."""

    def read() -> list[PartLink]:
        return missing_parts(find_upload(upload_id), limit)

    return UploadParts(parts=[_part(link) for link in await to_thread.run_sync(read)])


def _view(upload: ResumableUpload, prefix: str) -> DirectPartsUpload:
    url, part_bytes = f"{prefix}{tus.PREFIX}/{upload.id}", part_size(upload.size)
    return DirectPartsUpload(
        id=upload.id,
        uri=f"asset://{upload.id}",
        name=upload.name,
        size=upload.size,
        part_bytes=part_bytes,
        part_count=-(-upload.size // part_bytes),
        parts_url=f"{url}/parts",
        url=url,
        expires_at=upload.expires_at,
    )


def _part(link: PartLink) -> UploadPart:
    request = DirectUpload(
        url=link.url, headers={"Content-Length": str(link.size)}, expires_in_s=PART_LINK_LIFETIME_S
    )
    return UploadPart(number=link.number, offset=link.offset, size=link.size, upload=request)
