"""
Prefect's rules for state changes of flow runs, as its server 3.8 applies them.

The contract test replays random sequences of proposals here and on a real server, and compares the outcomes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor
from typing import Any

from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Failed

TERMINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The server's decision on a proposed state."""

    status: str
    """ACCEPT, REJECT, ABORT or WAIT."""
    state: Any = None
    """The state to set; None leaves the run as it is."""
    reason: str = ""
    delay_s: int = 0


def judge(initial: Any, proposed: Any, *, force: bool, now: datetime) -> Verdict:
    """
    Apply the rules to a proposal.

    Args:
        initial:  current state of the run.
        proposed: a copy of the proposed state, whose details may be changed.
        force:    whether the rules are skipped, except for those about queued runs that are cancelled.
        now:      the server's time.
    """
    bypass = _bypass_cancelling(initial, proposed)
    if force:
        return bypass or Verdict("ACCEPT", proposed)
    for verdict in (
        _same_transition(initial, proposed),
        _leaving_terminal(initial, proposed),
        _cancelling(initial, proposed),
        bypass,
        _pending(initial, proposed),
        _pausing(initial, proposed),
        _resuming(initial, proposed, now),
        _too_early(initial, proposed, now),
    ):
        if verdict is not None:
            return verdict
    return Verdict("ACCEPT", proposed)


def _same_transition(initial: Any, proposed: Any) -> Verdict | None:
    before, after = initial.state_details.transition_id, proposed.state_details.transition_id
    if before is not None and before == after:
        return Verdict("REJECT", None, "This run has already made this state transition.")
    return None


def _leaving_terminal(initial: Any, proposed: Any) -> Verdict | None:
    if initial.type not in TERMINAL:
        return None
    if proposed.type in {StateType.CANCELLING, StateType.PAUSED, StateType.CRASHED}:
        return Verdict("ABORT", None, f"Run is already in terminal state {initial.type.value}.")
    return None


def _cancelling(initial: Any, proposed: Any) -> Verdict | None:
    if initial.type == StateType.CANCELLING and proposed.type != StateType.CANCELLED:
        return Verdict("REJECT", None, "Cannot transition flows that are cancelling.")
    return None


def _bypass_cancelling(initial: Any, proposed: Any) -> Verdict | None:
    if proposed.type != StateType.CANCELLING:
        return None
    if initial.type == StateType.SCHEDULED:
        return Verdict("REJECT", Cancelled(), "Scheduled flow run has no infrastructure to terminate.")
    if initial.type == StateType.PAUSED and initial.state_details.pause_reschedule:
        return Verdict("REJECT", Cancelled(), "Suspended flow run has no infrastructure to terminate.")
    return None


def _pending(initial: Any, proposed: Any) -> Verdict | None:
    if proposed.type != StateType.PENDING:
        return None
    details = initial.state_details
    if initial.type == StateType.PENDING and initial.name != proposed.name and proposed.name != "Pending":
        proposed.state_details.scheduled_time = details.scheduled_time
        return None
    if initial.type in {StateType.PENDING, StateType.CANCELLING, StateType.RUNNING, StateType.CANCELLED}:
        return Verdict("ABORT", None, f"This run is in a {initial.type.name} state.")
    if initial.type == StateType.SCHEDULED and not proposed.state_details.scheduled_time:
        proposed.state_details.scheduled_time = details.scheduled_time
    return None


def _pausing(initial: Any, proposed: Any) -> Verdict | None:
    if proposed.type == StateType.PAUSED and initial.type != StateType.RUNNING:
        return Verdict("REJECT", None, "Cannot pause flows that are not currently running.")
    return None


def _resuming(initial: Any, proposed: Any, now: datetime) -> Verdict | None:
    if initial.type != StateType.PAUSED:
        return None
    is_allowed = proposed.type in TERMINAL | {StateType.RUNNING, StateType.SCHEDULED, StateType.CANCELLING}
    if not is_allowed:
        return Verdict("REJECT", None, "This run cannot transition to this state.")
    timeout = initial.state_details.pause_timeout
    if proposed.type != StateType.CANCELLING and timeout and timeout < now:
        return Verdict("REJECT", Failed(message="The flow was paused and never resumed."), "timed out")
    return None


def _too_early(initial: Any, proposed: Any, now: datetime) -> Verdict | None:
    if proposed.type != StateType.RUNNING or initial.type not in {StateType.SCHEDULED, StateType.PENDING}:
        return None
    due = initial.state_details.scheduled_time
    if not due:
        return None
    delay = due - now
    seconds = floor(delay.total_seconds()) + round(delay.microseconds / 1e6)
    return Verdict("WAIT", None, "Scheduled time is in the future", seconds) if seconds > 0 else None


def apply(run: Any, state: Any) -> None:
    """Set the state of a run with everything that the server derives from it."""
    initial = run.state
    run.state, run.state_id, run.state_type, run.state_name = state, state.id, state.type, state.name
    if initial is not None:
        _apply_times(run, initial, state)
    if not run.expected_start_time:
        due = state.state_details.scheduled_time if state.type == StateType.SCHEDULED else None
        run.expected_start_time = due or state.timestamp
    if initial is not None and initial.type == StateType.SCHEDULED:
        run.next_scheduled_start_time = None
    if state.type == StateType.SCHEDULED:
        run.next_scheduled_start_time = state.state_details.scheduled_time
    _apply_counts(run, initial, state)


def _apply_times(run: Any, initial: Any, state: Any) -> None:
    if state.type == StateType.RUNNING and run.start_time is None:
        run.start_time = state.timestamp
    if initial.type in TERMINAL and state.type not in TERMINAL:
        run.end_time = None
    if state.type in TERMINAL and not run.end_time:
        run.start_time = run.start_time or state.timestamp
        run.end_time = state.timestamp
    if initial.type == StateType.RUNNING:
        run.total_run_time = (run.total_run_time or timedelta()) + (state.timestamp - initial.timestamp)


def _apply_counts(run: Any, initial: Any, state: Any) -> None:
    policy = run.empirical_policy
    if state.type == StateType.RUNNING and not policy.resuming:
        run.run_count += 1
    if initial is not None and initial.type == StateType.PAUSED and state.type not in {StateType.PAUSED}:
        run.empirical_policy = policy.model_copy(update={"resuming": True})
    if state.type == StateType.RUNNING or state.type in TERMINAL:
        run.empirical_policy = run.empirical_policy.model_copy(update={"resuming": False})
    if initial is not None and initial.type in TERMINAL and state.type not in TERMINAL:
        run.empirical_policy = run.empirical_policy.model_copy(update={"resuming": False})
