"""What the routes of the C3 service have in common: fields, refusals, the answer to a submission."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi import Response
from pydantic_core import PydanticCustomError

from api import views
from api.problems import Problem
from api.runs import Run
from flows.control import Control
from tasks.refs import checked_media_uri

COMMON = ("notify_url", "max_time", "complete_in")
_WITHOUT_EFFECT = ("notify_url",)
"""Checked, and answered with a warning."""
_RANGES = {"max_time": (60, 7200), "complete_in": (60, 86_400)}
_WHOLE = re.compile(r"[+-]?\d{1,9}")


def media_fault(body: Mapping[str, Any], field: str) -> str | None:
    """Say what is wrong with a required reference, in the older service's words; None when nothing is."""
    value = body.get(field)
    if value is None or value == "":
        return f"Missing required field: {field}"
    try:
        checked_media_uri(value if isinstance(value, str) else "")
    except PydanticCustomError:
        return f"{field} must be a valid URL"
    return None


def common_faults(body: Mapping[str, Any]) -> dict[str, str]:
    """Return field -> what is wrong with it, of the fields that every body may have."""
    faults: dict[str, str] = {}
    notify = body.get("notify_url")
    if notify is not None and not _is_web_address(notify):
        faults["notify_url"] = "notify_url must be a valid URL"
    for field, (low, high) in _RANGES.items():
        value = body.get(field)
        if value is not None and not (_is_whole(value) and low <= int(value) <= high):
            faults[field] = f"{field} must be an integer between {low} and {high} seconds"
    return faults


def _is_web_address(value: Any) -> bool:
    parts = urlsplit(value) if isinstance(value, str) else None
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.netloc)


def _is_whole(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_WHOLE.fullmatch(value))
    return isinstance(value, int) and not isinstance(value, bool)


def control_of(body: Mapping[str, Any]) -> Control:
    """Return how long a job may take, of a body without `common_faults`."""
    return Control(**{field: int(body[field]) for field in _RANGES if body.get(field) is not None})


def refusal(faults: Mapping[str, str]) -> Problem:
    """Describe all faults of a body; the first one is also the older service's `error`."""
    errors = [
        {"pointer": f"#/{field}", "code": "invalid_input", "detail": text} for field, text in faults.items()
    ]
    return Problem("invalid_input", next(iter(faults.values())), errors=errors)


def without_effect(body: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """Return a warning for every field that was given and changes nothing here."""
    ignored = [f"ignored_field: {field}" for field in _WITHOUT_EFFECT if body.get(field) is not None]
    return ignored + [f"unknown_field: {field[:64]}" for field in body if field not in (*known, *COMMON)]


def submitted(response: Response, run: Run, prefer: str, warnings: Sequence[str]) -> dict[str, Any]:
    """Answer a submission as the older service did; with `Prefer: respond-async` as HTTP has it."""
    if "respond-async" in prefer:
        response.status_code = 202
        response.headers["Preference-Applied"] = "respond-async"
    response.headers.update(views.polling_headers(run))
    return {"id": str(run.id), "status": views.seed_word(run), "warnings": list(warnings)}
