"""
How often a run was started, and what follows when an attempt is lost: one rule for all who look after runs.

Attempts are counted in the run's history of states on the server. A worker claims a run by setting a state
of type Pending, so an attempt is counted from its claim on, in the same write: it cannot be lost with the
worker, and it counts whether or not the flow was ever reached.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from prefect.states import AwaitingRetry, Crashed, Scheduled
from prefect.types._datetime import now

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

RETRY: Final = "AwaitingRetry"
"""Name of the state of a run whose last attempt was lost. Prefect's own name for it."""
RESCHEDULED: Final = "Rescheduled"
"""Name of the state of a run that its worker gave back in good order."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
_FACTOR: Final = 4.0


def starts_of(history: "Iterable[State[Any]]") -> int:
    """
    Count the attempts that a run has used up, the present one included.

    Args:
        history: all states of the run, oldest first.

    Returns:
        Claims since the run was made, or since it last ended and somebody started it anew. An attempt that
        gave the run back is not counted: a pipeline that left its slot to others, a worker that shut down in
        good order, a pause.
    """
    starts, claimed = 0, False
    for state in history:
        if state.is_final():
            starts, claimed = 0, False
        elif state.is_pending():
            starts, claimed = starts + (not claimed), True
        elif claimed and (state.is_scheduled() or state.is_paused()):
            starts, claimed = starts - (state.name != RETRY), False
    return starts


def backoff_s(starts: int) -> float:
    """
    Return how long a run waits after a lost attempt, in seconds: 1, 4, 16, then 60.

    Args:
        starts: attempts so far, at least one.
    """
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * _FACTOR ** (min(starts, 8) - 1))


def after_loss(history: "Iterable[State[Any]]", why: str, max_starts: int) -> "State[Any]":
    """
    Return the state of a run whose attempt has just been lost.

    Args:
        history:    all states of the run, oldest first.
        why:        what happened to the attempt, as the end of a sentence.
        max_starts: how many attempts a run may use up.

    Returns:
        AwaitingRetry with a time in the future, or Crashed with how often it was started, and why it ended.
    """
    starts = max(1, starts_of(history))
    if starts >= max_starts:
        times = "once" if starts == 1 else f"{starts} times"
        return Crashed(message=f"Started {times} and ended early each time; the last time {why}.")
    pause = backoff_s(starts)
    return AwaitingRetry(
        scheduled_time=now("UTC") + timedelta(seconds=pause),
        message=f"Attempt {starts} of {max_starts} was lost: {why}. Next attempt in {pause:.0f} s.",
    )


def given_back(why: str) -> "State[Any]":
    """Return the state of a run that its worker gives back in good order: due at once, and not counted."""
    return Scheduled(name=RESCHEDULED, message=why)
