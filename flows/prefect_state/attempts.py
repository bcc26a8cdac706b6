"""
Retry policy for runs: count attempts, and decide the next state after a lost attempt.

Workers, the reaper, the start of a stack and the janitor share this policy. Attempts are counted from the
run's state history on the server. A worker claims a run by setting a state of type Pending, so the claim and
the count are one write: the count survives the worker and does not depend on the flow being reached.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry, Crashed, Scheduled

from flows.prefect_state.labels import WAITING_STATE

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

RETRY_STATE: Final = "AwaitingRetry"
"""Name of the state of a run whose last attempt was lost; the name is Prefect's."""
RESCHEDULED_STATE: Final = "Rescheduled"
"""Name of the state of a run that its worker returned to the queue at a graceful shutdown."""
WAITING_STATES: Final = (
    RETRY_STATE,
    RESCHEDULED_STATE,
    WAITING_STATE,
    "AwaitingConcurrencySlot",
    "Resuming",
    "Suspended",
    "Paused",
)
"""Names of the states of a run that has been claimed before and is not claimed now."""
RUN_WAITS_EVENT: Final = "musetalk.run.waits"
"""Event that workers repeat for runs in such a state: the server may have lost the event of the state."""
FIRST_PAUSE_S: Final = 1.0
"""Delay before the second attempt, in seconds."""
MAX_PAUSE_S: Final = 60.0
"""Upper limit of the delay between attempts, in seconds."""
_LOSS_MESSAGE: Final = re.compile(r"Attempt \d+ of \d+ was lost: ")
_BACKOFF_FACTOR: Final = 4.0


def count_attempts(history: "Iterable[State[Any]]") -> int:
    """
    Count the attempts of a run, including the current one.

    Args:
        history: all states of the run, oldest first.

    Returns:
        Claims since the run was created, or since a finished run was started again. An attempt that returned
        the run to the queue is not counted: a pipeline that yielded its slot, a graceful shutdown, a pause.
    """
    attempts, is_claimed = 0, False
    for state in history:
        if state.is_final():
            attempts, is_claimed = 0, False
        elif state.is_pending():
            attempts, is_claimed = attempts + (not is_claimed), True
        elif is_claimed and (state.is_scheduled() or state.is_paused()):
            attempts, is_claimed = attempts - (state.name != RETRY_STATE), False
    return attempts


def end_before_claim(history: "Iterable[State[Any]]") -> "State[Any] | None":
    """
    Return the final state that a late claim or requeue has replaced; None if the run had not ended.

    A worker claims what it read as queued a moment ago, and requeues what it read as lost a moment ago. If
    the run has ended since then, the server accepts the change nevertheless: it has no rule for the change
    from Completed to Pending, and a requeue is forced.

    Args:
        history: all states of the run, oldest first.
    """
    before = None
    for state in history:
        if state.is_pending() or state.is_running() or state.type == StateType.CANCELLING:
            continue
        is_late_requeue = before is not None and before.is_final() and _is_after_loss(state)
        before = before if is_late_requeue else state
    return before if before is not None and before.is_final() else None


def _is_after_loss(state: "State[Any]") -> bool:
    """Return whether `state_after_loss` made this state, and not a client that starts an ended run again."""
    return state.name == RETRY_STATE and _LOSS_MESSAGE.match(state.message or "") is not None


def backoff_s(attempts: int) -> float:
    """
    Return the delay before the next attempt, in seconds: 1, 4, 16, then 60.

    Args:
        attempts: attempts so far, at least one.
    """
    return min(MAX_PAUSE_S, FIRST_PAUSE_S * _BACKOFF_FACTOR ** (min(attempts, 8) - 1))


def state_after_loss(history: "Iterable[State[Any]]", reason: str, max_attempts: int) -> "State[Any]":
    """
    Return the next state of a run whose attempt was lost.

    Args:
        history:      all states of the run, oldest first.
        reason:       what happened to the attempt, as the end of a sentence.
        max_attempts: limit of attempts.

    Returns:
        AwaitingRetry with a time in the future, or Crashed with the number of attempts and the last reason.
        For a run that was claimed after its end: that end.
    """
    history = list(history)
    if (end := end_before_claim(history)) is not None:
        return end
    attempts = max(1, count_attempts(history))
    if attempts >= max_attempts:
        times = "once" if attempts == 1 else f"{attempts} times"
        return Crashed(message=f"Started {times} and ended early each time; the last time {reason}.")
    delay_s = backoff_s(attempts)
    return AwaitingRetry(
        scheduled_time=datetime.now(UTC) + timedelta(seconds=delay_s),
        message=f"Attempt {attempts} of {max_attempts} was lost: {reason}. Next attempt in {delay_s:.0f} s.",
    )


def state_after_return(reason: str) -> "State[Any]":
    """Return the state of a run that its worker returns to the queue: due at once, attempt not counted."""
    return Scheduled(name=RESCHEDULED_STATE, message=reason)
