"""What Prefect keeps of a job, in the API's words."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from api.reports import JobError, read_data, read_error, read_progress
from api.runs import Run, Status
from flows.control import ABORTED, COMPLETE_IN, ENDED_AS, MAX_TIME, read_control

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

NOTES: Final = ("progress", "result", "error")
"""Keys of the artifacts that a job is read from."""
TAG: Final = "tag:"
"""Before a caller's own tags, so that they are never taken for one of ours."""
METADATA: Final = "musetalk.metadata."
RETRY_OF: Final = "musetalk.retry_of"
"""Labels of a run."""

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

_OVERDUE = frozenset({MAX_TIME, COMPLETE_IN, ABORTED})


def state_types(statuses: frozenset[Status]) -> list[str]:
    """Return the types of Prefect's states that may mean one of these."""
    near: Mapping[str, Status] = {"scheduled": "queued", "aborted": "canceled"}
    wanted = {near.get(status, status) for status in statuses}
    return [kind for kind, status in STATE_TYPES.items() if status in wanted]


def to_run(found: "FlowRun", job_type: str, notes: Mapping[str, Any], *, replayed: bool = False) -> Run:
    """
    Translate a flow run.

    Args:
        found:    the run.
        job_type: name of its flow.
        notes:    its artifacts, by key.
        replayed: see `Run.replayed`.
    """
    status, labels = status_of(found), found.labels
    word = str(labels.get(ENDED_AS, "")) or None
    parent = labels.get(RETRY_OF)
    return Run(
        id=found.id,
        type=job_type,
        status=status,
        created=found.created,
        started=found.start_time,
        ended=found.end_time,
        progress=read_progress(notes.get("progress")),
        result=read_data(notes.get("result")) or None if status == "succeeded" else None,
        error=_error(status, word, notes, found.state),
        cancel_requested=found.state_type == "CANCELLING",
        ended_as=word if status in {"canceled", "aborted"} else None,
        tags=tuple(sorted(tag.removeprefix(TAG) for tag in found.tags if tag.startswith(TAG))),
        metadata={
            name.removeprefix(METADATA): str(value)
            for name, value in sorted(labels.items())
            if name.startswith(METADATA)
        },
        control=read_control(found.parameters),
        retry_of=UUID(str(parent)) if parent else None,
        replayed=replayed,
        job=dict(found.parameters.get("job") or {}),
    )


def status_of(run: "FlowRun") -> Status:
    """Say where a run stands."""
    kind = run.state_type.value if run.state_type else "SCHEDULED"
    if kind == "CANCELLED":
        return "aborted" if run.labels.get(ENDED_AS) == ABORTED else "canceled"
    status = STATE_TYPES.get(kind, "queued")
    due = run.next_scheduled_start_time
    # a run that is to start at once is due a moment after its creation, by the server's clock
    later = due is not None and due > datetime.now(UTC) + timedelta(seconds=5)
    return "scheduled" if status == "queued" and run.state_name == "Scheduled" and later else status


def _error(status: Status, word: str | None, notes: Mapping[str, Any], state: Any) -> JobError | None:
    """Say why a job failed, or ran out of time."""
    if status == "failed":
        return read_error(notes.get("error"), state)
    if status in {"canceled", "aborted"} and word in _OVERDUE:
        return JobError("deadline_exceeded", str(getattr(state, "message", None) or ""), retryable=False)
    return None
