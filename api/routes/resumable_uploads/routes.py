"""Routes of resumable uploads: tus 1.0.0 with the extensions creation, termination, expiration, checksum."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel, Field

from api.auth.api_keys import PUBLIC, SUBMIT
from api.auth.upload_limits import UploadLimiter
from api.errors import Problem
from api.http import tus
from api.http.body_guard import too_large
from api.http.metrics import Metrics
from api.http.upload_locks import UploadLocks
from api.routes.assets import Asset
from api.routes.resumable_uploads.transfer import Transfer
from tasks.catalog.resumable_uploads import (
    ResumableUpload,
    delete_upload,
    find_upload,
    finish_upload,
    start_upload,
    stored_bytes,
)
from tasks.settings import get_settings
from tasks.storage.home_store import store_is_remote

router = APIRouter(tags=["resumable uploads"])

T = TypeVar("T")
UploadId = Annotated[str, Path(max_length=64, description="Id of the upload, from `Location`.")]
TusHeader = Annotated[
    str | None, Header(alias="Tus-Resumable", description=f"Version of the protocol: `{tus.VERSION}`.")
]
_FALLBACK_NAME: Final = "upload"
_BINARY: Final[dict[str, Any]] = {
    "required": True,
    "content": {tus.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
}


class UploadView(BaseModel):
    """A resumable upload."""

    id: str
    name: str
    size: int = Field(description="Size of the complete file in bytes.")
    offset: int = Field(description="Number of bytes that have arrived.")
    created_at: datetime
    expires_at: datetime = Field(description="When the upload is deleted unless it is complete.")
    asset: Asset | None = Field(description="The asset, once all bytes have arrived.")


@router.options(tus.PREFIX, status_code=204, dependencies=[PUBLIC], include_in_schema=False)
@router.options(
    f"{tus.PREFIX}/{{upload_id}}", status_code=204, dependencies=[PUBLIC], include_in_schema=False
)
async def describe_uploads() -> Response:
    """Return the version and the extensions of the tus protocol, and the maximum size, in headers."""
    limit = get_settings().api.max_upload_bytes
    return Response(status_code=204, headers=tus.server_headers(limit, checksums=not store_is_remote()))


@router.post(tus.PREFIX, status_code=201, response_class=Response, dependencies=[SUBMIT])
async def create_upload(
    request: Request,
    tus_resumable: TusHeader = None,
    upload_length: Annotated[
        str | None, Header(alias="Upload-Length", description="Size of the file in bytes.")
    ] = None,
    upload_metadata: Annotated[
        str | None,
        Header(
            alias="Upload-Metadata",
            description="Keys and values in Base64, separated by commas. `filename` names the asset.",
        ),
    ] = None,
) -> Response:
    """Create an upload; `Location` is where to send its bytes."""
    del tus_resumable, upload_length, upload_metadata  # described here, parsed below
    tus.require_version(request.headers)
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        raise Problem("malformed_request", "Create the upload without a body, then send the bytes by PATCH.")
    size, metadata = tus.read_length(request.headers), tus.read_metadata(request.headers)
    limit = get_settings().api.max_upload_bytes
    if size > limit:
        raise too_large(limit)
    name = metadata.get("filename") or metadata.get("name") or _FALLBACK_NAME
    text = request.headers.get("upload-metadata", "")
    upload = await _in_store_thread(request, lambda: start_upload(name, size, text))
    _metrics(request).count_upload("created")
    return Response(status_code=201, headers={"Location": f"{tus.PREFIX}/{upload.id}", **_expiry(upload)})


@router.head(f"{tus.PREFIX}/{{upload_id}}", response_class=Response, dependencies=[SUBMIT])
async def read_offset(request: Request, upload_id: UploadId, tus_resumable: TusHeader = None) -> Response:
    """Return in `Upload-Offset` how many bytes have arrived; the next byte to send has this offset."""
    del tus_resumable
    tus.require_version(request.headers)
    upload, offset = await _read(request, upload_id)
    headers = {"Upload-Offset": str(offset), "Upload-Length": str(upload.size), "Cache-Control": "no-store"}
    if upload.metadata:
        headers["Upload-Metadata"] = upload.metadata
    return Response(headers={**headers, **_expiry(upload)})


@router.get(f"{tus.PREFIX}/{{upload_id}}", dependencies=[SUBMIT])
async def read_upload(request: Request, response: Response, upload_id: UploadId) -> UploadView:
    """Return an upload as JSON, with its asset once it is complete."""
    upload, offset = await _read(request, upload_id)
    response.headers["Cache-Control"] = "no-store"
    return UploadView(
        id=upload.id,
        name=upload.name,
        size=upload.size,
        offset=offset,
        created_at=upload.created_at,
        expires_at=upload.expires_at,
        asset=_asset(upload) if upload.is_complete else None,
    )


@router.patch(
    f"{tus.PREFIX}/{{upload_id}}",
    status_code=204,
    response_class=Response,
    openapi_extra={"requestBody": _BINARY},
    dependencies=[SUBMIT],
)
async def append_bytes(
    request: Request,
    upload_id: UploadId,
    tus_resumable: TusHeader = None,
    upload_offset: Annotated[
        str | None, Header(alias="Upload-Offset", description="Offset of the first byte of the body.")
    ] = None,
    upload_checksum: Annotated[
        str | None,
        Header(alias="Upload-Checksum", description="`sha1` or `sha256`, a space, and the digest in Base64."),
    ] = None,
) -> Response:
    """
    Append the body to an upload; `Upload-Offset` is the new offset.

    If the connection breaks, the bytes that have arrived are kept. After the last byte `Upload-Asset` is the
    reference that jobs use.
    """
    del tus_resumable, upload_offset, upload_checksum
    tus.require_version(request.headers)
    if request.headers.get("content-type") != tus.CONTENT_TYPE:
        raise Problem("malformed_request", f"Send the bytes as Content-Type: {tus.CONTENT_TYPE}.", status=415)
    offset, checksum = tus.read_offset(request.headers), tus.read_checksum(request.headers)
    if checksum is not None and store_is_remote():
        raise Problem("malformed_request", "Checksums are not verified if the store is a bucket.")
    limiter, locks = _limiter(request), _locks(request)
    with limiter.admit(request.state.caller):
        async with locks.hold(upload_id) as lock:
            upload = await _in_store_thread(request, lambda: find_upload(upload_id))
            if upload.is_direct:
                raise Problem("malformed_request", "The parts of this upload go to the bucket.", status=409)
            if upload.is_complete:
                if offset != upload.size:
                    raise Problem(
                        "offset_mismatch", f"The upload is complete: {upload.size} bytes are stored."
                    )
                if request.headers.get("content-length", "0") != "0":
                    raise too_large(upload.size)
            else:
                transfer = Transfer(upload, checksum, limiter, request.app.state.upload_hashes, lock)
                try:
                    offset = await transfer.receive(request, offset)
                finally:
                    _metrics(request).count_upload_bytes(transfer.stored)
                    if transfer.is_started and not transfer.is_whole:
                        _metrics(request).count_upload("interrupted")
                if offset == upload.size:
                    upload = await _complete(request, upload)
    return Response(status_code=204, headers={"Upload-Offset": str(offset), **_expiry(upload)})


@router.delete(f"{tus.PREFIX}/{{upload_id}}", status_code=204, response_class=Response, dependencies=[SUBMIT])
async def terminate_upload(
    request: Request, upload_id: UploadId, tus_resumable: TusHeader = None
) -> Response:
    """Delete an upload. If it is complete, its asset stays."""
    del tus_resumable
    tus.require_version(request.headers)
    async with _locks(request).hold(upload_id):
        upload = await _in_store_thread(request, lambda: find_upload(upload_id))
        await _in_store_thread(request, lambda: delete_upload(upload))
    _metrics(request).count_upload("deleted")
    return Response(status_code=204)


@router.post(f"{tus.PREFIX}/{{upload_id}}", status_code=204, include_in_schema=False, dependencies=[SUBMIT])
async def override_method(request: Request, upload_id: str) -> Response:
    """Handle a PATCH or DELETE from an environment that can send GET and POST only."""
    match request.headers.get("x-http-method-override", "").upper():
        case "PATCH":
            return await append_bytes(request, upload_id)
        case "DELETE":
            return await terminate_upload(request, upload_id)
        case _:
            raise Problem("malformed_request", "Method not allowed", status=405)


async def _read(request: Request, upload_id: str) -> tuple[ResumableUpload, int]:
    """Return an upload and its offset; complete it if the process ended between the last byte and that."""
    upload = await _in_store_thread(request, lambda: find_upload(upload_id))
    offset = await _in_store_thread(request, lambda: stored_bytes(upload))
    locks = _locks(request)
    if offset == upload.size and not upload.is_complete and not locks.is_held(upload_id):
        async with locks.hold(upload_id):
            upload = await _complete(request, upload)
    return upload, offset


async def _complete(request: Request, upload: ResumableUpload) -> ResumableUpload:
    sha256 = request.app.state.upload_hashes.pop(upload.id, upload.size)
    complete = await _in_store_thread(request, lambda: finish_upload(upload, sha256))
    _metrics(request).count_upload("completed")
    return complete


def _asset(upload: ResumableUpload) -> Asset:
    return Asset(id=upload.id, uri=f"asset://{upload.id}", name=upload.name)


def _expiry(upload: ResumableUpload) -> dict[str, str]:
    """Return the header that tells how long an upload can be continued, or which asset it has become."""
    if upload.is_complete:
        return {"Upload-Asset": _asset(upload).uri}
    return {"Upload-Expires": tus.http_date(upload.expires_at)}


async def _in_store_thread(request: Request, work: Callable[[], T]) -> T:
    return await to_thread.run_sync(work, limiter=_limiter(request).store_threads)


def _limiter(request: Request) -> UploadLimiter:
    return request.app.state.uploads


def _locks(request: Request) -> UploadLocks:
    return request.app.state.upload_locks


def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics
