"""The studio's page: one HTML document for all views, with a strict Content-Security-Policy."""

import gzip
import hashlib
from functools import lru_cache
from typing import Final

from fastapi import Request, Response

from api.studio.static_files import StaticFile, content_response, digest, static_files

CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""No inline script or style, no eval, nothing from other hosts, and no HTML made from text."""
_PLACEHOLDER: Final = b"@static@"


@lru_cache(maxsize=1)
def _page() -> StaticFile:
    template = static_files()["index.html"]
    content = template.content.replace(_PLACEHOLDER, f"/studio/static/{digest()}".encode())
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return StaticFile(content, gzip.compress(content, mtime=0), template.media_type, etag)


def page_response(request: Request, vary: str | None = None) -> Response:
    """
    Return the response with the page.

    Args:
        request: the request, for Accept-Encoding and If-None-Match.
        vary:    request header on which the caller decided to send the page.
    """
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-cache"}
    return content_response(request, _page(), headers | ({"Vary": vary} if vary else {}))
