"""Downloads of output files: sent by the API with support for Range requests, or redirected to the bucket."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC
from email.utils import format_datetime
from typing import Final

from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse

from api.errors import Problem
from api.jobs.outputs import OutputFile
from tasks.catalog.assets import asset_name
from tasks.catalog.stored_results import StoredOutput, find_asset, find_pinned
from tasks.errors import ObjectMissing, RenderError, ResultReplaced
from tasks.file_names import content_disposition
from tasks.settings import get_settings
from tasks.storage.media_types import media_type

LINK_LIFETIME_S: Final = 3600
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


async def file_response(request: Request, file: OutputFile, *, may_redirect: bool = True) -> Response:
    """
    Return the HTTP response for an output file.

    Args:
        request:      the request, for its method and its Range and If-Range headers.
        file:         the file as recorded in the job's result.
        may_redirect: whether the setting `api.download_redirects` applies.

    Returns:
        The file or the requested range of it; with redirects, for a file in a bucket, a presigned link that
        is valid for one hour. In a versioned bucket the version that the result names is sent; in other
        buckets the object is compared with the result first.

    Raises:
        Problem: `expired` if the file was deleted, `result_replaced` if another object has replaced it.
    """
    return await to_thread.run_sync(_file_response, request, file, may_redirect)


async def asset_response(request: Request, asset: str) -> Response:
    """
    Return the HTTP response for an upload, as `file_response` does for an output file; it never redirects.

    Args:
        request: the request, for its method and its Range and If-Range headers.
        asset:   id of the asset.

    Raises:
        ObjectMissing: the asset does not exist, is not uploaded yet, or belongs to another tenant.
        InputError:    the id is malformed.
    """

    def respond() -> Response:
        name, stored = asset_name(asset), find_asset(asset)
        return _stored_response(request, name, stored, may_redirect=False)

    return await to_thread.run_sync(respond)


def _file_response(request: Request, file: OutputFile, may_redirect: bool) -> Response:
    return _stored_response(request, file.name, _find_stored(file), may_redirect=may_redirect)


def _stored_response(request: Request, name: str, stored: StoredOutput, *, may_redirect: bool) -> Response:
    headers = {"Content-Disposition": content_disposition(name), "X-Content-Type-Options": "nosniff"}
    if stored.path is not None:
        return FileResponse(stored.path, media_type=media_type(name), headers=headers)
    if may_redirect and get_settings().api.download_redirects:
        link = stored.objects.presigned_url(
            stored.key, LINK_LIFETIME_S, stored.info.version, headers["Content-Disposition"]
        )
        if link is None:
            raise Problem("storage_unavailable", "This store cannot create presigned links.")
        return RedirectResponse(link, 307, headers={"Cache-Control": "no-store"})
    return _object_response(request, stored, headers | {"Content-Type": media_type(name)})


def _object_response(request: Request, stored: StoredOutput, headers: dict[str, str]) -> Response:
    """Send an object in a bucket, or the range that was requested."""
    size = stored.info.size
    etag = f'"{hashlib.sha256(f"{stored.info.version}:{size}".encode()).hexdigest()[:32]}"'
    modified = format_datetime(stored.info.modified.astimezone(UTC), usegmt=True)
    headers |= {"Accept-Ranges": "bytes", "ETag": etag, "Last-Modified": modified}
    is_current = request.headers.get("if-range", etag) in {etag, modified}
    span = _requested_range(request.headers.get("range", ""), size) if is_current else None
    if span is None:
        start, length, status = 0, size, 200
    else:
        start, length, status = span.start, len(span), 206
        if not length:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    headers["Content-Length"] = str(length)
    if request.method == "HEAD" or not length:
        return Response(status_code=status, headers=headers)
    blocks = stored.objects.read(stored.key, start, length, stored.info.version)
    first_block = next(blocks, b"")  # an error is still a problem document here
    return StreamingResponse(_stream(first_block, blocks), status, headers)


async def _stream(first_block: bytes, blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield blocks that are read in threads; no thread waits for the client."""
    try:
        yield first_block
        while block := await to_thread.run_sync(next, blocks, b""):
            yield block
    finally:
        with suppress(AttributeError):  # a generator releases its connection
            blocks.close()  # type: ignore[attr-defined]  # pyright: ignore


def _requested_range(header: str, size: int) -> range | None:
    """
    Return the requested bytes; empty if no byte of the file is in the range.

    None, which means the whole file, for a header with several ranges or in another form, as RFC 9110 allows.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1 if last else size, size))


def require_not_replaced(file: OutputFile) -> None:
    """
    Raise if another object has replaced a file. A missing file is reported when it is read.

    Raises:
        Problem: `result_replaced`.
    """
    with suppress(RenderError):
        try:
            find_pinned(file.ref)
        except ResultReplaced as error:
            raise _replaced_problem(error) from error


def _find_stored(file: OutputFile) -> StoredOutput:
    try:
        return find_pinned(file.ref)
    except ResultReplaced as error:
        raise _replaced_problem(error) from error
    except ObjectMissing as error:
        raise Problem("expired", "The file has been deleted.") from error


def _replaced_problem(error: ResultReplaced) -> Problem:
    return Problem("result_replaced", str(error), extra=error.details)
