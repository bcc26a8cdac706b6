"""
Reject JSON that PostgreSQL, Prefect or UTF-8 cannot store.

* Lone surrogates cannot be encoded in UTF-8, so no store, log or response can contain them.
* PostgreSQL, where Prefect stores a job's parameters, cannot store the character NUL.
* Prefect's server cannot serialize integers over 64 bits (any large number becomes an integer in PostgreSQL)
  nor deeply nested values. One such job would make every list of jobs unreadable.
"""

import json
import re
from asyncio import to_thread
from typing import Any, Final, TypeVar

from starlette.requests import Request

from api.errors import Problem
from api.http.request_middleware import takes_file

N = TypeVar("N", int, float)

_SUSPICIOUS_PATTERN: Final = re.compile(
    # surrogates (valid pairs too) and NUL, escaped or raw; numbers that may be too large
    rb"\\u[dD][89a-fA-F]|\\u0000|\xed[\xa0-\xbf]|\x00"
    rb"|\d{19}|\d[eE]\+?\d|NaN|Infinity"
)
"""
Fast first check; a body that matches is parsed and checked exactly.

A zero byte occurs only in JSON in UTF-16 or UTF-32, which Python's parser accepts but RFC 8259 forbids.
"""
_NUL_ESCAPE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1
_SMALL_BYTES: Final = 8192
"""Size up to which a body is checked at once; larger ones are checked in a thread."""
_SLICE_BYTES, _OVERLAP_BYTES = 32_768, 32
"""The pattern is searched in slices, because a search keeps all other threads waiting."""
_MAX_VALUES: Final = 100_000
_MAX_VALUES_OF_OTHERS: Final = 10_000
"""Maximum number of values in a body, which bounds the time of its validation."""
_BATCH_PATHS: Final = frozenset({"/v1/jobs", "/v1/jobs/batch", "/v1/batches"})
_MAX_MEMBERS: Final = 1000
"""Maximum number of members of one object."""
_MAX_DEPTH: Final = 100
"""Maximum nesting depth; Prefect's server serializes 254 levels, including its own around the job."""


async def require_storable_json(request: Request) -> None:
    """
    Reject a JSON body that parses but cannot be stored.

    Args:
        request: any request; the body of an upload is not read.

    Raises:
        Problem: `malformed_request` for NUL, lone surrogates, numbers beyond 64 bits, deep nesting, and more
            values or members than any request needs.
    """
    if takes_file(request.scope["path"]):
        return
    body = await request.body()
    max_values = _MAX_VALUES if request.scope["path"] in _BATCH_PATHS else _MAX_VALUES_OF_OTHERS
    if len(body) > _SMALL_BYTES:
        await to_thread(check_body, body, max_values)
    else:
        check_body(body, max_values)


def check_body(body: bytes, max_values: int = _MAX_VALUES_OF_OTHERS) -> None:
    """Raise the errors of `require_storable_json` for a body that was read."""
    if body.count(b",") > max_values:
        raise Problem("malformed_request", f"The body has more than {max_values} values.")
    is_suspicious = any(
        _SUSPICIOUS_PATTERN.search(body, start, start + _SLICE_BYTES + _OVERLAP_BYTES)
        for start in range(0, len(body), _SLICE_BYTES)
    )
    is_deep = body.count(b"[") + body.count(b"{") > _MAX_DEPTH
    if not is_suspicious and not is_deep and body.count(b":") <= _MAX_MEMBERS:
        return
    if b"\0" in body:
        raise Problem("malformed_request", "Send JSON as UTF-8 without zero bytes.")
    try:
        document = json.loads(
            body, parse_int=_parse_integer, parse_float=_parse_float, parse_constant=_parse_float
        )
    except (ValueError, RecursionError):
        return  # not JSON: the route's own validation reports it
    _require_bounded(document)
    if is_suspicious:
        _require_storable_text(json.dumps(document, ensure_ascii=False))


def _parse_integer(digits: str) -> int:
    return _checked_number(int(digits))  # ValueError above some thousand digits


def _parse_float(text: str) -> float:
    return _checked_number(float(text))


def _checked_number(number: N) -> N:
    if not _MIN_INTEGER <= number <= _MAX_INTEGER:
        raise Problem(
            "malformed_request", "The body contains a number that is not finite or exceeds 64 bits."
        )
    return number


def _require_bounded(document: Any) -> None:
    """Reject deep nesting, and objects with more members than any schema has."""
    level = [document]
    for _ in range(_MAX_DEPTH):
        if any(isinstance(whole, dict) and len(whole) > _MAX_MEMBERS for whole in level):  # pyright: ignore
            raise Problem("malformed_request", f"An object has more than {_MAX_MEMBERS} members.")
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return
    raise Problem("malformed_request", f"The body is nested deeper than {_MAX_DEPTH} levels.")


def _require_storable_text(text: str) -> None:
    if _NUL_ESCAPE.search(text):
        raise Problem("malformed_request", r"The body contains the NUL character, \u0000.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Problem("malformed_request", r"The body contains a lone surrogate, such as \ud800.") from None
