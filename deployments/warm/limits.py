"""Time limits of a run: maximum running time and completion deadline."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployments.warm.protocol import Why
from flows.control import deadline, is_past, read_control

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


@dataclass(frozen=True, slots=True)
class Limit:
    """A time limit of a run."""

    seconds: float
    """Seconds from now until the run is stopped."""
    why: Why
    message: str


def is_expired(run: "FlowRun") -> bool:
    """Return whether a run that has never started has missed its deadline."""
    return run.run_count == 0 and is_past(read_control(run.parameters), run.created or datetime.now(UTC))


def limit_of(run: "FlowRun", pool_max_time: int | None) -> Limit | None:
    """
    Return the time limit that a run starting now reaches first; None if it has none.

    Args:
        run:           the run.
        pool_max_time: maximum running time, in seconds, of the work pool for runs without `max_time`.
    """
    control = read_control(run.parameters)
    found: list[Limit] = []
    if seconds := control.max_time or pool_max_time:
        found.append(Limit(float(seconds), "time", f"Job exceeded maximum runtime of {seconds} seconds"))
    due = deadline(control, run.created or datetime.now(UTC))
    if due is not None:
        left = max(0.0, (due - datetime.now(UTC)).total_seconds())
        found.append(
            Limit(left, "deadline", f"Job exceeded completion deadline ({due:%Y-%m-%d %H:%M:%S} UTC)")
        )
    return min(found, key=lambda limit: limit.seconds, default=None)
