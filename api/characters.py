"""
Texts in JSON are whole: half a surrogate pair is no character, and no store, log or answer can hold it.

Nor zero: PostgreSQL, where Prefect keeps a job's parameters, has no text with it.
"""

import json
import re

from starlette.requests import Request

from api.problems import Problem
from api.wire import UPLOAD_PATH

_SUSPECT = re.compile(rb"\\u[dD][89a-fA-F]|\\u0000|\xed[\xa0-\xbf]|\x00")
"""
Halves and zeros as they are written in JSON; whole pairs, too, which is why this is only a first look.

A bare zero stands in no JSON but in UTF-16 and UTF-32, which Python reads and nobody may send (RFC 8259).
"""
_ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


async def require_characters(request: Request) -> None:
    """
    Refuse a body that parses, and holds what cannot be written down again.

    Args:
        request: any; uploads are not read.

    Raises:
        Problem: `malformed_request`.
    """
    if request.scope["path"] == UPLOAD_PATH or not _SUSPECT.search(body := await request.body()):
        return
    if b"\0" in body:
        raise Problem("malformed_request", "JSON is sent as UTF-8, without zero bytes.")
    try:
        written = json.dumps(await request.json(), ensure_ascii=False)
    except (ValueError, RecursionError):
        return  # who wants the body will say that it is no JSON
    if _ZERO.search(written):
        raise Problem("malformed_request", r"The body holds the character zero, \u0000.")
    try:
        written.encode()
    except UnicodeEncodeError:
        raise Problem("malformed_request", r"The body holds half a character, such as \ud800.") from None
