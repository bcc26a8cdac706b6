"""
What became of a job, read off its flow run: status, error, result, and the older services' words.

The API and the webhooks tell the same story because both read it here. Light: Prefect's records are only
looked at.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from flows.control import ABORTED, COMPLETE_IN, ENDED_AS, MAX_TIME
from flows.family import YIELDS
from tasks.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

Status = Literal["queued", "scheduled", "running", "succeeded", "failed", "canceled", "aborted"]
FINAL: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})
FILE_FIELDS: Final = ("video", "audio", "picture")
"""Fields of results that name the file a job made."""
TEXT_JOBS: Final = frozenset({"transcribe", "analyze"})
"""Job types whose result is a text in the older service's eyes."""
NOTES: Final = ("result", "error")
"""Keys of the artifacts that `error_of` and `result_of` read."""

PROGRESS: Final = "progress"
"""Key of the artifact that `read_progress` reads."""

_OVERDUE = frozenset({MAX_TIME, COMPLETE_IN, ABORTED})
STATE_TYPES: Final[Mapping[str, Status]] = {
    "SCHEDULED": "queued",
    "PENDING": "queued",
    "PAUSED": "queued",
    "RUNNING": "running",
    "CANCELLING": "running",
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "CRASHED": "failed",
    "CANCELLED": "canceled",
}
"""What Prefect's types of states mean, before labels and times are looked at."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    percent: float = 0.0
    phase: str | None = None
    done: int = 0
    total: int = 0


NO_PROGRESS: Final = Progress()


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, for its caller."""

    code: str
    message: str
    retryable: bool


def read_data(note: Any) -> dict[str, Any]:
    """
    Read the data of a JSON artifact, which Prefect stores as text.

    Args:
        note: the artifact, or None.

    Returns:
        Its members; none when it is missing or holds something else.
    """
    data: Any = getattr(note, "data", None)
    try:
        found: Any = json.loads(data) if isinstance(data, str) else data
    except ValueError:
        return {}
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


BAD_PARAMETERS: Final = "Validation of flow parameters failed"
"""How Prefect's message begins for a run that was started past the API, with parameters no flow takes."""


def read_error(note: Any, state: Any) -> JobError:
    """
    Read a failed run's `error` artifact; without one, tell a crash from an unexpected error.

    Args:
        note:  the artifact with code, message and retryable as data; None when there is none.
        state: Prefect's state of the run.
    """
    data = read_data(note)
    if {"code", "message", "retryable"} <= data.keys():
        return JobError(str(data["code"]), str(data["message"]), bool(data["retryable"]))
    said = str(getattr(state, "message", None) or "")
    if said.startswith(BAD_PARAMETERS):
        faults = [line.removeprefix(" - ") for line in said.splitlines() if line.startswith(" - ")]
        return JobError("invalid_input", "; ".join(faults) or f"{BAD_PARAMETERS}.", False)
    if getattr(state, "type", None) == "CRASHED":
        return JobError("internal", "The worker ended while the job ran; sending it again may help.", True)
    return JobError(
        "internal", "The job failed for a reason of ours; its log in Prefect has the details.", False
    )


def read_progress(note: Any) -> Progress:
    """
    Read a run's `progress` artifact.

    Args:
        note: the artifact, with percent as data and JSON `{phase, done, total}` as description, or None.
    """
    if note is None:
        return Progress()
    try:
        detail: dict[str, Any] = json.loads(note.description or "{}")
        return Progress(
            percent=float(note.data or 0.0),
            phase=detail.get("phase"),
            done=int(detail.get("done", 0)),
            total=int(detail.get("total", 0)),
        )
    except (ValueError, TypeError, AttributeError):  # somebody else's artifact under our key
        return Progress()


def status_of(run: "FlowRun") -> Status:
    """
    Say where a run stands, in the API's words.

    Args:
        run: as the server has it.
    """
    if run.state_type is not None and run.state_type.value == "CANCELLED":
        return "aborted" if run.labels.get(ENDED_AS) == ABORTED else "canceled"
    status = STATE_TYPES.get(run.state_type.value if run.state_type else "SCHEDULED", "queued")
    # what has begun may have left its place to others, or be paused
    if status == "queued" and (YIELDS in run.labels or (run.state_name == "Suspended" and run.run_count)):
        return "running"
    due = run.next_scheduled_start_time
    # a run that is to start at once is due a moment after its creation, by the server's clock
    later = due is not None and due > datetime.now(UTC) + timedelta(seconds=5)
    return "scheduled" if status == "queued" and run.state_name == "Scheduled" and later else status


def ended_as(run: "FlowRun") -> str | None:
    """Return the word for why a run was stopped; None when nobody said one."""
    return str(run.labels.get(ENDED_AS, "")) or None


def error_of(status: Status, word: str | None, notes: Mapping[str, Any], state: Any) -> JobError | None:
    """
    Say why a job failed, or ran out of time.

    Args:
        status: its status.
        word:   why it was stopped.
        notes:  its newest artifact per key.
        state:  Prefect's state of it.
    """
    if status == "failed":
        return read_error(notes.get("error"), state)
    if status in {"canceled", "aborted"} and word in _OVERDUE:
        return JobError("deadline_exceeded", str(getattr(state, "message", None) or ""), retryable=False)
    return None


def result_of(status: Status, notes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the result of a job that succeeded and wrote one."""
    return (read_data(notes.get("result")) or None) if status == "succeeded" else None


def seed_word(status: Status, word: str | None, *, overdue: bool) -> str:
    """
    Translate a status into the older services' words.

    Args:
        status:  the job's.
        word:    why it was stopped: cancelled and timed_out are the owner's own words.
        overdue: it ran out of time.
    """
    match status:
        case "queued" | "scheduled":
            return "queued"
        case "succeeded":
            return "success"
        case "canceled" | "aborted" if overdue:
            return get_settings().compat.deadline_word
        case "canceled" | "aborted":
            return word if word in {"cancelled", "timed_out"} else "cancelled"
        case _:
            return status


def media_of(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return where the sound or picture that a job made is stored; None for a job that makes neither."""
    stored = next((result[field] for field in FILE_FIELDS if result.get(field)), None)
    return cast(Mapping[str, Any], stored) if isinstance(stored, Mapping) and "name" in result else None
