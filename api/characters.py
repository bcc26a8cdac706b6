"""Texts in JSON are whole: half a surrogate pair is no character, and no store, log or answer can hold it."""

import json
import re

from starlette.requests import Request

from api.problems import Problem
from api.wire import UPLOAD_PATH

_SUSPECT = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
"""Halves as they are written in JSON; whole pairs, too, which is why this is only a first look."""


async def require_characters(request: Request) -> None:
    """
    Refuse a body that parses, and holds what cannot be written down again.

    Args:
        request: any; uploads are not read.

    Raises:
        Problem: `malformed_request`.
    """
    if request.scope["path"] == UPLOAD_PATH or not _SUSPECT.search(await request.body()):
        return
    try:
        written = json.dumps(await request.json(), ensure_ascii=False)
    except (ValueError, RecursionError):
        return  # who wants the body will say that it is no JSON
    try:
        written.encode()
    except UnicodeEncodeError:
        raise Problem("malformed_request", r"The body holds half a character, such as \ud800.") from None
