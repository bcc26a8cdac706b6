"""
Status, error, result and progress of a job, read from its flow run and artifacts.

The API and the webhooks report the same values because both read them here. Light imports: no Prefect client.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from flows.prefect_state.labels import YIELD_COUNT
from flows.schemas.control import (
    ENDED_AS_LABEL,
    MARK_MESSAGE_LABEL,
    MARKED_AS_LABEL,
    REASON_ABORTED,
    REASON_COMPLETE_IN,
    REASON_MAX_TIME,
)
from tasks.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

Status = Literal["queued", "scheduled", "running", "succeeded", "failed", "canceled", "aborted"]
"""Job status in the v1 API."""
FINAL_STATUSES: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})
"""Statuses of jobs that have ended."""
FILE_FIELDS: Final = ("video", "audio", "picture")
"""Fields of results that hold the output file of a job."""
TEXT_JOBS: Final = frozenset({"transcribe", "analyze"})
"""Job types whose result is a text in the compatibility routes."""
RESULT_KEYS: Final = ("result", "error")
"""Keys of the artifacts that `error_of` and `result_of` read."""

PROGRESS_KEY: Final = "progress"
"""Key of the artifact that `read_progress` reads."""

_TIME_LIMIT_REASONS = frozenset({REASON_MAX_TIME, REASON_COMPLETE_IN, REASON_ABORTED})
STATUS_BY_STATE_TYPE: Final[Mapping[str, Status]] = {
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
"""Job status by Prefect state type, before labels and times are considered."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job: percent, phase, completed items of the total, number of the preview frame."""

    percent: float = 0.0
    phase: str | None = None
    done: int = 0
    total: int = 0
    preview: int = 0


NO_PROGRESS: Final = Progress()


@dataclass(frozen=True, slots=True)
class JobError:
    """The error of a failed job: code, message and whether a retry may succeed."""

    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class ClientMark:
    """
    State that a client declared on a compatibility route. The v1 API does not report it.

    Attributes:
        status:  cancelled, timed_out or failed.
        message: the client's error message, or the default one.
    """

    status: str
    message: str


def read_data(artifact: Any) -> dict[str, Any]:
    """
    Parse the data of a JSON artifact, which Prefect stores as text.

    Args:
        artifact: artifact, or None.

    Returns:
        The object; empty if the artifact is missing or does not hold a JSON object.
    """
    data: Any = getattr(artifact, "data", None)
    try:
        parsed: Any = json.loads(data) if isinstance(data, str) else data
    except ValueError:
        return {}
    return cast(dict[str, Any], parsed) if isinstance(parsed, dict) else {}


INVALID_PARAMETERS_MESSAGE: Final = "Validation of flow parameters failed"
"""Start of Prefect's message for a run with invalid parameters that was not submitted through the API."""


def read_error(artifact: Any, state: Any) -> JobError:
    """
    Return the error of a failed run from its `error` artifact, or derive it from the run's state.

    Args:
        artifact: artifact with code, message and retryable as data; None if there is none.
        state:    Prefect state of the run.
    """
    data = read_data(artifact)
    if {"code", "message", "retryable"} <= data.keys():
        return JobError(str(data["code"]), str(data["message"]), bool(data["retryable"]))
    message = str(getattr(state, "message", None) or "")
    if message.startswith(INVALID_PARAMETERS_MESSAGE):
        faults = [line.removeprefix(" - ") for line in message.splitlines() if line.startswith(" - ")]
        return JobError("invalid_input", "; ".join(faults) or f"{INVALID_PARAMETERS_MESSAGE}.", False)
    if getattr(state, "type", None) == "CRASHED":
        return JobError(
            "internal", "The worker process ended while the job was running. Submit the job again.", True
        )
    return JobError(
        "internal", "The job failed with an internal error. See its log in Prefect for details.", False
    )


def read_progress(artifact: Any) -> Progress:
    """
    Parse the `progress` artifact of a run.

    Args:
        artifact: artifact with percent as data and JSON `{phase, done, total, preview}` as description; None
            if there is none.
    """
    if artifact is None:
        return Progress()
    try:
        detail: dict[str, Any] = json.loads(artifact.description or "{}")
        return Progress(
            percent=float(artifact.data or 0.0),
            phase=detail.get("phase"),
            done=int(detail.get("done", 0)),
            total=int(detail.get("total", 0)),
            preview=int(detail.get("preview", 0)),
        )
    except (ValueError, TypeError, AttributeError):  # an artifact of another program under the same key
        return Progress()


def status_of(run: "FlowRun") -> Status:
    """
    Return the job status of a flow run.

    Args:
        run: flow run as read from the server.
    """
    if run.state_type is not None and run.state_type.value == "CANCELLED":
        return "aborted" if run.labels.get(ENDED_AS_LABEL) == REASON_ABORTED else "canceled"
    status = STATUS_BY_STATE_TYPE.get(run.state_type.value if run.state_type else "SCHEDULED", "queued")
    # a started run may have yielded its worker slot, or be suspended
    if status == "queued" and (
        YIELD_COUNT in run.labels or (run.state_name == "Suspended" and run.run_count)
    ):
        return "running"
    scheduled_start = run.next_scheduled_start_time
    # a run without delay is due shortly after its creation, by the server's clock
    is_in_future = scheduled_start is not None and scheduled_start > datetime.now(UTC) + timedelta(seconds=5)
    return "scheduled" if status == "queued" and run.state_name == "Scheduled" and is_in_future else status


def ended_as(run: "FlowRun") -> str | None:
    """Return the reason why a run was stopped; None if no reason was recorded."""
    return str(run.labels.get(ENDED_AS_LABEL, "")) or None


def client_mark(run: "FlowRun") -> ClientMark | None:
    """Return the status that the client gave a job on a compatibility route; None if it gave none."""
    status = run.labels.get(MARKED_AS_LABEL)
    return ClientMark(str(status), str(run.labels.get(MARK_MESSAGE_LABEL, ""))) if status else None


def error_of(status: Status, reason: str | None, artifacts: Mapping[str, Any], state: Any) -> JobError | None:
    """
    Return the error of a job that failed or exceeded a time limit; None for other jobs.

    Args:
        status:    status of the job.
        reason:    reason why it was stopped.
        artifacts: newest artifact per key.
        state:     Prefect state of the run.
    """
    if status == "failed":
        return read_error(artifacts.get("error"), state)
    if status in {"canceled", "aborted"} and reason in _TIME_LIMIT_REASONS:
        return JobError("deadline_exceeded", str(getattr(state, "message", None) or ""), retryable=False)
    return None


def result_of(status: Status, artifacts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the result of a succeeded job; None if there is none."""
    return (read_data(artifacts.get("result")) or None) if status == "succeeded" else None


def legacy_status(status: Status, reason: str | None, *, is_over_time_limit: bool) -> str:
    """
    Translate a status into the status of the compatibility routes.

    Args:
        status:             status of the job.
        reason:             reason why it was stopped; cancelled and timed_out are given by the client.
        is_over_time_limit: the job exceeded a time limit.
    """
    match status:
        case "queued" | "scheduled":
            return "queued"
        case "succeeded":
            return "success"
        case "canceled" | "aborted" if is_over_time_limit:
            return get_settings().compat.deadline_word
        case "canceled" | "aborted":
            return reason if reason in {"cancelled", "timed_out"} else "cancelled"
        case _:
            return status


def output_file_of(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the stored output file of a job; None if the job produces no audio, video or image."""
    stored = next((result[field] for field in FILE_FIELDS if result.get(field)), None)
    return cast(Mapping[str, Any], stored) if isinstance(stored, Mapping) and "name" in result else None
