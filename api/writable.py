"""
JSON that is taken can be written down again, and read back by everybody who has to.

Half a surrogate pair is no character, and no store, log or answer can hold it. Nor can PostgreSQL, where
Prefect keeps a job's parameters, hold the character zero. And Prefect's server writes no integer of more than
64 bits, which any large number is once it comes out of PostgreSQL, and nothing that is very deep: with one
such job among them no list of jobs could be read any more.
"""

import json
import re
from typing import Any, Final, TypeVar

from starlette.requests import Request

from api.problems import Problem
from api.wire import UPLOAD_PATH

N = TypeVar("N", int, float)

_SUSPECT: Final = re.compile(
    # halves and zeros as they are written (whole pairs too), numbers that may be too large
    rb"\\u[dD][89a-fA-F]|\\u0000|\xed[\xa0-\xbf]|\x00"
    rb"|\d{19}|\d[eE]\+?\d|NaN|Infinity"
)
"""
Only a first look.

A bare zero stands in no JSON but in UTF-16 and UTF-32, which Python reads and nobody may send (RFC 8259).
"""
_ZERO: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_LEAST, _MOST = -(2**63), 2**63 - 1
_DEEPEST: Final = 100
"""Levels; Prefect's server writes 254, its own around a job's included."""


async def require_writable(request: Request) -> None:
    """
    Refuse a body that parses, and holds what cannot be written down again.

    Args:
        request: any; uploads are not read.

    Raises:
        Problem: `malformed_request`.
    """
    if request.scope["path"] == UPLOAD_PATH:
        return
    body = await request.body()
    is_odd, is_large = bool(_SUSPECT.search(body)), body.count(b"[") + body.count(b"{") > _DEEPEST
    if not is_odd and not is_large:
        return
    if b"\0" in body:
        raise Problem("malformed_request", "JSON is sent as UTF-8, without zero bytes.")
    try:
        document = json.loads(body, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return  # who wants the body will say that it is no JSON
    _require_flat(document)
    if is_odd:
        _require_characters(json.dumps(document, ensure_ascii=False))


def _integer(digits: str) -> int:
    return _bounded(int(digits))  # ValueError above some thousand digits


def _finite(text: str) -> float:
    return _bounded(float(text))


def _bounded(number: N) -> N:
    if not _LEAST <= number <= _MOST:
        raise Problem("malformed_request", "The body holds a number that is not finite or beyond 64 bits.")
    return number


def _require_flat(document: Any) -> None:
    level = [document]
    for _ in range(_DEEPEST):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return
    raise Problem("malformed_request", f"The body is deeper than {_DEEPEST} levels.")


def _require_characters(written: str) -> None:
    if _ZERO.search(written):
        raise Problem("malformed_request", r"The body holds the character zero, \u0000.")
    try:
        written.encode()
    except UnicodeEncodeError:
        raise Problem("malformed_request", r"The body holds half a character, such as \ud800.") from None
