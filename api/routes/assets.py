"""Routes for uploads: through the API, or directly to the object store with a presigned link."""

from collections.abc import Iterable, Iterator
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Annotated, Any

from anyio import from_thread, to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from api.auth.api_keys import SUBMIT
from api.errors import Problem
from tasks.catalog.assets import asset_name, create_direct_upload, save_asset
from tasks.file_names import plain_name

router = APIRouter(tags=["assets"])

_BLOCK_BYTES = 1 << 20
_UPLOAD_BODY = {
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


@router.post(
    "/v1/assets", status_code=201, openapi_extra={"requestBody": _UPLOAD_BODY}, dependencies=[SUBMIT]
)
async def upload_asset(
    request: Request,
    name: Annotated[
        str | None, Query(max_length=255, description="File name of a raw body; used in output names.")
    ] = None,
) -> Asset:
    """Upload a video, image or audio file as the form field `file` or as the raw request body."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _save_upload(_raw_blocks(request), name or _header_name(request))
    async with request.form(max_files=1, max_fields=4, max_part_size=65_536) as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise Problem("malformed_request", "Send the file as the form field `file`.")
        blocks = iter(lambda: part.file.read(_BLOCK_BYTES), b"")
        return await _save_upload(blocks, name or part.filename)


async def _save_upload(blocks: Iterable[bytes], name: str | None) -> Asset:
    def save() -> Asset:
        asset = save_asset(blocks, name or "upload")
        return Asset(id=asset, uri=f"asset://{asset}", name=asset_name(asset))

    return await to_thread.run_sync(save)


def _raw_blocks(request: Request) -> Iterator[bytes]:
    """Yield the request body as it arrives; must run in a worker thread."""
    stream = request.stream()

    async def next_block() -> bytes | None:
        return await anext(stream, None)

    while (block := from_thread.run(next_block)) is not None:
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
