"""
Payload of a webhook: the Standard Webhooks envelope, and the fields of the older service beside it.

The payload is thin: it links to the API, which requires an API key, and contains no presigned links, no input
addresses and no internal details.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from flows.batch_schemas import ROW_COUNTS
from flows.control import Event
from flows.outcome import NO_PROGRESS, TEXT_JOBS, JobError, Progress, Status, media_of, seed_word

MOST_BYTES: Final = 20_000
"""Maximum size of a payload in bytes."""
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://\S+")
_LONGEST_MESSAGE = 1000
_QUOTED = len('{"":""}')


@dataclass(frozen=True, slots=True)
class Told:
    """
    The state of a job, as far as webhooks report it.

    Attributes:
        ended_as: reason why it was stopped.
        result:   result, if it succeeded.
        progress: progress, while it runs.
    """

    id: UUID
    type: str
    status: Status
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    ended_as: str | None = None
    error: JobError | None = None
    result: Mapping[str, Any] | None = None
    progress: Progress = NO_PROGRESS


_UNDERWAY: Final = frozenset[Event]({"started", "progress"})
"""Events of jobs that have not ended."""


def body_of(event: Event, job: Told, base: str | None = None) -> bytes:
    """
    Return the payload. Equal jobs give equal bytes, so that all attempts of a webhook agree.

    The timestamp of a progress event is the current time; such an event is sent once.

    Args:
        event:    webhook event.
        job:      state of the job.
        base_url: public URL of the API; None makes the links relative.

    Returns:
        JSON in UTF-8, under 20 kB.
    """
    when = datetime.now(UTC) if event == "progress" else job.started if event == "started" else job.ended
    own = f"{base or ''}/v1/jobs/{job.id}"
    envelope = {
        "type": f"job.{event}",
        "timestamp": _text(when or job.created),
        "data": _data(event, job, own),
    }
    legacy = _legacy(event, job, own)
    body = _json(envelope | legacy)
    if len(body) < MOST_BYTES or "text" not in legacy:
        return body
    # keep the text field for older receivers; text_cut tells newer ones that it is truncated
    room = MOST_BYTES - len(_json(envelope | legacy | {"text": "", "text_cut": True})) - 1
    return _json(envelope | legacy | {"text": _cut(legacy["text"], room), "text_cut": True})


def _data(event: Event, job: Told, own: str) -> dict[str, Any]:
    links = {"self": own}
    if event not in _UNDERWAY and _has_file(job):
        links["result"] = f"{own}/result"
    ended = event not in _UNDERWAY
    return {
        **({"progress": asdict(job.progress)} if event == "progress" else {}),
        **_counts(event, job),
        "id": str(job.id),
        "type": job.type,
        "status": job.status if ended else "running",
        "created_at": _text(job.created),
        "started_at": _text(job.started),
        "ended_at": _text(job.ended) if ended else None,
        "error": _error(job.error) if ended and job.error else None,
        "links": links,
    }


def _counts(event: Event, job: Told) -> dict[str, dict[str, int]]:
    """Return the row counts of a batch; the rows themselves are not included."""
    result = job.result or {}
    if event != "completed" or "succeeded" not in result:
        return {}
    return {"counts": {name: result.get(name, 0) for name in ROW_COUNTS}}


def _legacy(event: Event, job: Told, own: str) -> dict[str, Any]:
    """Return the top-level fields that receivers of the older service read."""
    if event in _UNDERWAY:
        return {"id": str(job.id), "status": "running"}
    word = seed_word(job.status, job.ended_as, overdue=job.error is not None)
    fields: dict[str, Any] = {"id": str(job.id), "status": word}
    match event:
        case "completed" if job.type in TEXT_JOBS:
            return fields | {"text": str((job.result or {}).get("text", ""))}
        case "completed" if media_of(job.result or {}) is not None:
            name = quote(str((job.result or {})["name"]), safe="")
            return fields | {"result_url": f"{own}/files/{name}"}
        case "completed":
            return fields
        case _:
            text = _message(job.error.message) if job.error else f"Job marked as {word} by client"
            return fields | {"error": text}


def _has_file(job: Told) -> bool:
    result = job.result or {}
    return media_of(result) is not None or bool(result.get("files"))


def _error(error: JobError) -> dict[str, Any]:
    return {"code": error.code, "message": _message(error.message), "retryable": error.retryable}


def _message(text: str) -> str:
    """Remove URLs from a message: receivers of webhooks do not need the locations of inputs."""
    return _ADDRESS.sub("[address]", text)[:_LONGEST_MESSAGE]


def _text(when: datetime | None) -> str | None:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if when else None


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _cut(text: str, room: int) -> str:
    """Truncate a text to a number of bytes of JSON, where one character may take several."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(_json({"": text[:middle]})) - _QUOTED <= room else (low, middle - 1)
    return text[:low]
