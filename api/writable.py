"""
Reject JSON that PostgreSQL, Prefect or UTF-8 cannot store.

* Lone surrogates cannot be encoded in UTF-8, so no store, log or response can contain them.
* PostgreSQL, where Prefect stores a job's parameters, cannot store the character NUL.
* Prefect's server cannot serialize integers over 64 bits (any large number becomes an integer in PostgreSQL)
  nor deeply nested values. One such job would make every list of jobs unreadable.
"""

import json
import re
from typing import Any, Final, TypeVar

from starlette.requests import Request

from api.problems import Problem
from api.wire import UPLOAD_PATH

N = TypeVar("N", int, float)

_SUSPECT: Final = re.compile(
    # surrogates (valid pairs too) and NUL, escaped or raw; numbers that may be too large
    rb"\\u[dD][89a-fA-F]|\\u0000|\xed[\xa0-\xbf]|\x00"
    rb"|\d{19}|\d[eE]\+?\d|NaN|Infinity"
)
"""
Fast first check; a body that matches is parsed and checked exactly.

A zero byte occurs only in JSON in UTF-16 or UTF-32, which Python's parser accepts but RFC 8259 forbids.
"""
_ZERO: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_LEAST, _MOST = -(2**63), 2**63 - 1
_DEEPEST: Final = 100
"""Maximum nesting depth; Prefect's server serializes 254 levels, including its own around the job."""


async def require_writable(request: Request) -> None:
    """
    Reject a JSON body that parses but cannot be stored.

    Args:
        request: any request; the body of an upload is not read.

    Raises:
        Problem: `malformed_request` for NUL, lone surrogates, numbers beyond 64 bits and deep nesting.
    """
    if request.scope["path"] == UPLOAD_PATH:
        return
    body = await request.body()
    is_odd, is_large = bool(_SUSPECT.search(body)), body.count(b"[") + body.count(b"{") > _DEEPEST
    if not is_odd and not is_large:
        return
    if b"\0" in body:
        raise Problem("malformed_request", "Send JSON as UTF-8 without zero bytes.")
    try:
        document = json.loads(body, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return  # not JSON: the route's own validation reports it
    _require_flat(document)
    if is_odd:
        _require_characters(json.dumps(document, ensure_ascii=False))


def _integer(digits: str) -> int:
    return _bounded(int(digits))  # ValueError above some thousand digits


def _finite(text: str) -> float:
    return _bounded(float(text))


def _bounded(number: N) -> N:
    if not _LEAST <= number <= _MOST:
        raise Problem(
            "malformed_request", "The body contains a number that is not finite or exceeds 64 bits."
        )
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
    raise Problem("malformed_request", f"The body is nested deeper than {_DEEPEST} levels.")


def _require_characters(written: str) -> None:
    if _ZERO.search(written):
        raise Problem("malformed_request", r"The body contains the NUL character, \u0000.")
    try:
        written.encode()
    except UnicodeEncodeError:
        raise Problem("malformed_request", r"The body contains a lone surrogate, such as \ud800.") from None
