"""Routes for uploads: through the API, or directly to the object store with a presigned link."""

from collections.abc import AsyncIterator
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Annotated, Any, Final

from anyio import CancelScope, to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from api.auth.api_keys import SUBMIT
from api.auth.upload_limits import UploadLimiter
from api.errors import Problem
from tasks.catalog.assets import AssetWriter, asset_name, create_direct_upload
from tasks.file_names import plain_name

router = APIRouter(tags=["assets"])

_BLOCK_BYTES = 1 << 18
UPLOAD_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}


class Asset(BaseModel):
    """An uploaded file."""

    id: str
    uri: str
    name: str


@router.post("/v1/assets", status_code=201, openapi_extra={"requestBody": UPLOAD_BODY}, dependencies=[SUBMIT])
async def upload_asset(
    request: Request,
    name: Annotated[
        str | None, Query(max_length=255, description="File name of a raw body; used in output names.")
    ] = None,
) -> Asset:
    """Upload a video, image or audio file as the form field `file` or as the raw request body."""
    return await save_upload(request, name)


async def save_upload(request: Request, name: str | None = None) -> Asset:
    """
    Save the file in a request's body as an asset of the caller.

    Args:
        request: with the form field `file`, or the file as its body.
        name:    file name; None for the one in the request.

    Raises:
        Problem: `malformed_request` without a file, `concurrency_limited` for too many uploads at once.
        MediaUnreadable, MediaTooLarge, DiskFull, StorageError: see `tasks.catalog.assets.save_asset`.
    """
    limiter: UploadLimiter = request.app.state.uploads
    with limiter.admit(request.state.caller):
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return await _write_upload(limiter, request.stream(), name or _header_name(request))
        async with request.form(max_files=1, max_fields=4, max_part_size=65_536) as form:
            part = form.get("file")
            if not isinstance(part, UploadFile):
                raise Problem("malformed_request", "Send the file as the form field `file`.")
            return await _write_upload(limiter, _blocks_of(part), name or part.filename)


async def _write_upload(limiter: UploadLimiter, blocks: AsyncIterator[bytes], name: str | None) -> Asset:
    """Save an upload; a thread is used for each write only, not while the client is awaited."""
    writer = await to_thread.run_sync(AssetWriter, limiter=limiter.write_threads)
    try:
        pending = bytearray()
        async for block in blocks:
            pending += block
            if len(pending) >= _BLOCK_BYTES:
                await to_thread.run_sync(writer.write, bytes(pending), limiter=limiter.write_threads)
                pending.clear()
        if pending:
            await to_thread.run_sync(writer.write, bytes(pending), limiter=limiter.write_threads)

        def finish() -> Asset:
            asset = writer.finish(name or "upload")
            return Asset(id=asset, uri=f"asset://{asset}", name=asset_name(asset))

        return await to_thread.run_sync(finish, limiter=limiter.store_threads)
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(writer.close, limiter=limiter.write_threads)


async def _blocks_of(part: UploadFile) -> AsyncIterator[bytes]:
    while block := await part.read(_BLOCK_BYTES):
        yield block


def _header_name(request: Request) -> str | None:
    """Return the file name of a Content-Disposition header (RFC 6266): `filename*` before `filename`."""
    header = Message()
    header["content-disposition"] = request.headers.get("content-disposition", "")
    params: list[Any] = header.get_params([], "content-disposition")  # an encoded value is a tuple
    values = [value for name, value in params if name == "filename"]
    plain = [_as_utf8(value) for value in values if isinstance(value, str)]
    encoded = [collapse_rfc2231_value(value) for value in values if not isinstance(value, str)]
    return next(iter(encoded + plain), None)


def _as_utf8(text: str) -> str:
    """Decode UTF-8 that a header carried as Latin-1; return other text unchanged."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


class Announced(BaseModel):
    """A file that the client will upload to the object store directly."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=255, examples=["anna.mp4"])
    size: int = Field(ge=1, description="Exact size of the upload in bytes.")
    content_type: str = Field(
        default="application/octet-stream",
        max_length=100,
        pattern=r"^[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+$",
        examples=["video/mp4"],
    )


class DirectUpload(BaseModel):
    """The request that uploads the file."""

    method: str = "PUT"
    url: str
    headers: dict[str, str] = Field(description="Headers that the request must send unchanged.")
    expires_in_s: int


class AnnouncedAsset(Asset):
    """An asset that has not been uploaded yet."""

    upload: DirectUpload


@router.post("/v1/assets/direct", status_code=201, name="announce_asset", dependencies=[SUBMIT])
async def announce_asset(file: Announced) -> AnnouncedAsset:
    """Get a presigned link to upload a file to the object store directly; jobs can use it once uploaded."""
    pending = await to_thread.run_sync(create_direct_upload, file.name, file.size, file.content_type)
    headers = {"Content-Length": str(file.size), "Content-Type": file.content_type}
    return AnnouncedAsset(
        id=pending.asset,
        uri=f"asset://{pending.asset}",
        name=plain_name(file.name),
        upload=DirectUpload(url=pending.url, headers=headers, expires_in_s=pending.seconds),
    )
