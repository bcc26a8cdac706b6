"""Responses that are files: OpenAPI description, problem of a missing file, small pictures with an ETag."""

import hashlib
from typing import Any, Final

from fastapi import Response

from api.errors import Problem
from api.schemas.job_views import RETRY_AFTER_S

_BINARY: Final[Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
}
FILE_RESPONSES: Final[Any] = {
    200: {"description": "The file, with the media type of its name.", **_BINARY},
    206: {"description": "The range requested by `Range`.", **_BINARY},
    410: {"description": "`result_replaced`: another object replaced it; `expired`: it was deleted."},
    416: {"description": "The range is not satisfiable."},
}


def missing_file_problem(status: str) -> Problem:
    """Return the problem for a missing output file: `not_ready` or `not_found`."""
    if status in {"queued", "scheduled", "running"}:
        return Problem("not_ready", f"The job is still {status}.", headers={"Retry-After": RETRY_AFTER_S})
    return Problem("not_found", "The job has no such output file.")


def picture_response(
    content: bytes,
    if_none_match: str | None,
    *,
    version: str | None = None,
    media_type: str = "image/jpeg",
    cache: str = "max-age=86400",
) -> Response:
    """
    Return a small picture, or 304 if the client has it.

    Args:
        content:       its bytes.
        if_none_match: header `If-None-Match` of the request.
        version:       value that changes with the picture; None for a hash of the bytes.
        media_type:    its media type.
        cache:         how a client may cache it; caches that several clients share may not.
    """
    version = version or hashlib.sha256(content).hexdigest()[:32]
    headers = {"ETag": f'"{version}"', "Cache-Control": f"private, {cache}"}
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
