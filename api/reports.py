"""What a run wrote about itself, read back: progress. What became of it is told by `flows.outcome`."""

import json
from dataclasses import dataclass
from typing import Any

from flows.outcome import JobError, read_data, read_error

__all__ = ["JobError", "Progress", "read_data", "read_error", "read_progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    percent: float = 0.0
    phase: str | None = None
    done: int = 0
    total: int = 0


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
