"""Time limits of a run: maximum running time and completion deadline."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployments.warm_worker.child.protocol import StopReason
from flows.schemas.control import deadline, is_deadline_passed, read_control

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """A time limit of a run."""

    seconds: float
    """Seconds from now until the run is stopped."""
    reason: StopReason
    message: str


def is_expired(run: "FlowRun") -> bool:
    """Return whether a run that has never started has missed its deadline."""
    return run.run_count == 0 and is_deadline_passed(
        read_control(run.parameters), run.created or datetime.now(UTC)
    )


def first_time_limit(run: "FlowRun", pool_max_time: int | None) -> TimeLimit | None:
    """
    Return the time limit that a run starting now reaches first; None if it has none.

    Args:
        run:           the run.
        pool_max_time: maximum running time, in seconds, of the work pool for runs without `max_time`.
    """
    control = read_control(run.parameters)
    limits: list[TimeLimit] = []
    if seconds := control.max_time or pool_max_time:
        limits.append(TimeLimit(float(seconds), "time", f"Job exceeded maximum runtime of {seconds} seconds"))
    due_at = deadline(control, run.created or datetime.now(UTC))
    if due_at is not None:
        remaining_s = max(0.0, (due_at - datetime.now(UTC)).total_seconds())
        limits.append(
            TimeLimit(
                remaining_s, "deadline", f"Job exceeded completion deadline ({due_at:%Y-%m-%d %H:%M:%S} UTC)"
            )
        )
    return min(limits, key=lambda limit: limit.seconds, default=None)
