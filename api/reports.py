"""What a run wrote about itself, read back: progress, and why it failed."""

import json
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    percent: float = 0.0
    phase: str | None = None
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, for its caller."""

    code: str
    message: str
    retryable: bool


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


_BAD_PARAMETERS = "Validation of flow parameters failed"
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
    if said.startswith(_BAD_PARAMETERS):
        faults = [line.removeprefix(" - ") for line in said.splitlines() if line.startswith(" - ")]
        return JobError("invalid_input", "; ".join(faults) or f"{_BAD_PARAMETERS}.", False)
    if getattr(state, "type", None) == "CRASHED":
        return JobError("internal", "The worker ended while the job ran; sending it again may help.", True)
    return JobError(
        "internal", "The job failed for a reason of ours; its log in Prefect has the details.", False
    )
