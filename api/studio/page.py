"""The studio's page: one HTML document for all views, with a strict Content-Security-Policy."""

import gzip
import hashlib
from functools import lru_cache
from typing import Final

from anyio import to_thread
from fastapi import Request, Response

from api.http.path_prefix import path_prefix
from api.studio.policy import bucket_source, content_security_policy
from api.studio.static_files import StaticFile, content_response, digest, static_files

_ROOT: Final = b"@root@"
_STATIC: Final = b"@static@"
_UPLOADS: Final = b"@uploads@"


@lru_cache(maxsize=4)
def _page(prefix: str, uploads: str) -> StaticFile:
    template = static_files()["index.html"]
    content = template.content.replace(_STATIC, f"{prefix}/studio/static/{digest()}".encode())
    content = content.replace(_ROOT, prefix.encode()).replace(_UPLOADS, uploads.encode())
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return StaticFile(content, gzip.compress(content, mtime=0), template.media_type, etag)


async def page_response(request: Request, vary: str | None = None) -> Response:
    """
    Return the response with the page.

    Args:
        request: the request, for Accept-Encoding and If-None-Match.
        vary:    request header on which the caller decided to send the page.
    """
    prefix = path_prefix(request.scope)
    # in a thread: the first call opens the store
    policy = await to_thread.run_sync(content_security_policy, prefix)
    uploads = "api" if bucket_source() is None else "bucket"
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return content_response(request, _page(prefix, uploads), headers | ({"Vary": vary} if vary else {}))
