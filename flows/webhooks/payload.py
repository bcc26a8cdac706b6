"""
Payload of a webhook: the Standard Webhooks envelope, and the fields of the older service beside it.

The payload is thin: it links to the API, which requires an API key, and contains no input addresses and no
internal details. `result_url` is a signed link if the job's webhook requests it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from flows.prefect_state.status import (
    NO_PROGRESS,
    TEXT_JOBS,
    ClientMark,
    JobError,
    Progress,
    Status,
    legacy_status,
    output_file_of,
)
from flows.schemas.batch import ROW_COUNTS
from flows.schemas.control import Event
from tasks.catalog.download_links import link_expiry, sign_link

MAX_BODY_BYTES: Final = 20_000
"""Maximum size of a payload in bytes."""
_URL_PATTERN = re.compile(r"[A-Za-z0-9+.-]{0,32}(?<=[A-Za-z0-9+.-])://\S+")
_MAX_MESSAGE_CHARS = 1000
_EMPTY_OBJECT_CHARS = len('{"":""}')


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """
    The state of a job, as far as webhooks report it.

    Attributes:
        ended_as: reason why it was stopped.
        mark:     what its client declared it to be on a compatibility route.
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
    mark: ClientMark | None = None
    error: JobError | None = None
    result: Mapping[str, Any] | None = None
    progress: Progress = NO_PROGRESS


_NON_FINAL_EVENTS: Final = frozenset[Event]({"started", "progress"})
"""Events of jobs that have not ended."""
_MAX_WARNINGS = 20


def build_payload(
    event: Event, job: JobSnapshot, base_url: str | None = None, *, signed_links: bool = False
) -> bytes:
    """
    Return the payload. Equal jobs give equal bytes, so that all attempts of a webhook agree.

    The timestamp of a progress event is the current time; such an event is sent once.

    Args:
        event:        webhook event.
        job:          state of the job.
        base_url:     public URL of the API; None makes the links relative.
        signed_links: make `result_url` a signed link; it expires `api.link_days` after the end of the job.

    Returns:
        JSON in UTF-8, under 20 kB.
    """
    occurred_at = (
        datetime.now(UTC) if event == "progress" else job.started if event == "started" else job.ended
    )
    api_url = base_url or ""
    job_url = f"{api_url}/v1/jobs/{job.id}"
    envelope = {
        "type": f"job.{event}",
        "timestamp": _to_timestamp(occurred_at or job.created),
        "data": _build_data(event, job, job_url),
    }
    legacy = _legacy_fields(event, job, api_url, signed_links=signed_links)
    body = _to_json(envelope | legacy)
    if len(body) < MAX_BODY_BYTES or "text" not in legacy:
        return body
    # keep the text field for older receivers; text_cut tells newer ones that it is truncated
    max_text_bytes = MAX_BODY_BYTES - len(_to_json(envelope | legacy | {"text": "", "text_cut": True})) - 1
    return _to_json(envelope | legacy | {"text": _truncate(legacy["text"], max_text_bytes), "text_cut": True})


def _build_data(event: Event, job: JobSnapshot, job_url: str) -> dict[str, Any]:
    links = {"self": job_url}
    if event not in _NON_FINAL_EVENTS and _has_output_file(job):
        links["result"] = f"{job_url}/result"
    ended = event not in _NON_FINAL_EVENTS
    return {
        **({"progress": asdict(job.progress)} if event == "progress" else {}),
        **_row_counts(event, job),
        **_warnings(event, job),
        "id": str(job.id),
        "type": job.type,
        "status": job.status if ended else "running",
        "created_at": _to_timestamp(job.created),
        "started_at": _to_timestamp(job.started),
        "ended_at": _to_timestamp(job.ended) if ended else None,
        "error": _error_data(job.error) if ended and job.error else None,
        "links": links,
    }


def _row_counts(event: Event, job: JobSnapshot) -> dict[str, dict[str, int]]:
    """Return the row counts of a batch; the rows themselves are not included."""
    result = job.result or {}
    if event != "completed" or "succeeded" not in result:
        return {}
    return {"counts": {name: result.get(name, 0) for name in ROW_COUNTS}}


def _warnings(event: Event, job: JobSnapshot) -> dict[str, list[str]]:
    """Return the first warnings of the result, if it has any."""
    found = (job.result or {}).get("warnings") if event == "completed" else None
    return {"warnings": [_without_urls(str(text)) for text in found[:_MAX_WARNINGS]]} if found else {}


def _legacy_fields(event: Event, job: JobSnapshot, api_url: str, *, signed_links: bool) -> dict[str, Any]:
    """Return the top-level fields that receivers of the older service read."""
    if event in _NON_FINAL_EVENTS:
        return {"id": str(job.id), "status": "running"}
    status = legacy_status(job.status, job.ended_as, is_over_time_limit=job.error is not None)
    if event == "canceled" and job.mark is not None:
        return {"id": str(job.id), "status": job.mark.status, "error": _without_urls(job.mark.message)}
    fields: dict[str, Any] = {"id": str(job.id), "status": status}
    match event:
        case "completed" if job.type in TEXT_JOBS:
            return fields | {"text": str((job.result or {}).get("text", ""))}
        case "completed" if output_file_of(job.result or {}) is not None:
            return fields | {"result_url": _file_url(job, api_url, signed=signed_links)}
        case "completed":
            return fields
        case _:
            text = _without_urls(job.error.message) if job.error else f"Job marked as {status} by client"
            return fields | {"error": text}


def _file_url(job: JobSnapshot, api_url: str, *, signed: bool) -> str:
    name = str((job.result or {})["name"])
    path = quote(name, safe="")
    if not signed or job.ended is None:
        return f"{api_url}/v1/jobs/{job.id}/files/{path}"
    expires = link_expiry(job.ended)  # of the end, not of now: all attempts send equal bytes
    signature = sign_link(job.id, name, expires)
    return f"{api_url}/v1/downloads/{job.id}/{path}?expires={expires}&signature={signature}"


def _has_output_file(job: JobSnapshot) -> bool:
    result = job.result or {}
    return output_file_of(result) is not None or bool(result.get("files"))


def _error_data(error: JobError) -> dict[str, Any]:
    return {"code": error.code, "message": _without_urls(error.message), "retryable": error.retryable}


def _without_urls(text: str) -> str:
    """Remove URLs from a message: receivers of webhooks do not need the locations of inputs."""
    return _URL_PATTERN.sub("[address]", text)[:_MAX_MESSAGE_CHARS]


def _to_timestamp(when: datetime | None) -> str | None:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if when else None


def _to_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _truncate(text: str, max_bytes: int) -> str:
    """Truncate a text to a number of bytes of JSON, where one character may take several."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high)
            if len(_to_json({"": text[:middle]})) - _EMPTY_OBJECT_CHARS <= max_bytes
            else (low, middle - 1)
        )
    return text[:low]
