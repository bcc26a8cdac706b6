"""
Static files of the studio: content, media type, ETag and gzip form, read once.

The address of a file contains a digest of all files, so that browsers keep it for a year and a new release
has new addresses. Modules import each other by relative paths and stay within one digest.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from fastapi import Request, Response

from api.errors import Problem

FOLDER: Final = Path(__file__).parent / "static"
"""Folder with the page, its modules, style sheets and `vendor`."""
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_STYLE_SHEET: Final = "studio.css"
_STYLES: Final = ("base.css", "components.css", "views.css")
"""Style sheets that are sent as one, in this order: a request costs more than the bytes."""
_KEPT: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the studio as it is sent."""

    content: bytes
    compressed: bytes
    """The content in gzip form."""
    media_type: str
    etag: str


@lru_cache(maxsize=1)
def static_files() -> dict[str, StaticFile]:
    """Return the files by their path below the folder; other kinds of files, such as tables, are left out."""
    found = sorted(path for path in FOLDER.rglob("*") if path.suffix in _MEDIA_TYPES)
    files = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in found}
    files[_STYLE_SHEET] = b"".join(files.pop(name) for name in _STYLES)
    return {name: _static_file(name, content) for name, content in sorted(files.items())}


def _static_file(name: str, content: bytes) -> StaticFile:
    return StaticFile(
        content,
        gzip.compress(content, mtime=0),
        _MEDIA_TYPES[Path(name).suffix],
        f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )


@lru_cache(maxsize=1)
def digest() -> str:
    """Return the digest of all files, which is part of their addresses."""
    total = hashlib.sha256()
    for name, file in static_files().items():
        total.update(f"{name}\0{file.etag}\0".encode())
    return total.hexdigest()[:16]


def file_response(request: Request, path: str, requested_digest: str) -> Response:
    """
    Return the response for a static file: 200, or 304 for a known ETag.

    Args:
        request:          the request, for Accept-Encoding and If-None-Match.
        path:             path below the folder.
        requested_digest: digest in the address. With one of another release the current file is sent, and
            browsers do not keep it.

    Raises:
        Problem: `not_found`.
    """
    file = static_files().get(path)
    if file is None or path.endswith(".html"):
        raise Problem("not_found", "File not found.")
    kept = _KEPT if requested_digest == digest() else "no-cache"
    return content_response(request, file, {"Cache-Control": kept})


def content_response(request: Request, file: StaticFile, headers: dict[str, str]) -> Response:
    """Return the response for the content of a file with further headers: 200, or 304 for a known ETag."""
    vary = ", ".join(filter(None, [headers.get("Vary"), "Accept-Encoding"]))
    headers = headers | {"ETag": file.etag, "Vary": vary}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = file.media_type
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"})
    return Response(file.content, headers=headers)
