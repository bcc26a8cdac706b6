"""When a run has had its time: how long it may run, and by when it must be finished."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployments.warm.protocol import Why
from flows.control import deadline, is_past, read_control

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit that a run meets first."""

    seconds: float
    """From now."""
    why: Why
    message: str


def is_expired(run: "FlowRun") -> bool:
    """Tell whether a waiting run has missed its deadline. One that has begun before is not judged here."""
    return run.run_count == 0 and is_past(read_control(run.parameters), run.created or datetime.now(UTC))


def limit_of(run: "FlowRun", pool_max_time: int | None) -> Limit | None:
    """
    Return what will stop a run that starts now.

    Args:
        run:           the run.
        pool_max_time: seconds that its work pool allows to runs that name no limit.
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
