"""How often a run was started, from its history alone, and what follows when an attempt is lost."""

from datetime import UTC, datetime

import pytest
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Pending,
    Running,
    Scheduled,
    Submitting,
    Suspended,
)

from flows.prefect_state.attempts import (
    RESCHEDULED_STATE,
    backoff_s,
    count_attempts,
    end_before_claim,
    state_after_loss,
    state_after_return,
)
from flows.prefect_state.labels import WAITING_STATE

MADE, CLAIM = [Scheduled()], [Pending(), Submitting()]
NEVER_REACHED = [*CLAIM, AwaitingRetry()]
LOST = [*CLAIM, Running(), AwaitingRetry()]
YIELDED = [*CLAIM, Running(), Scheduled(name=WAITING_STATE)]
HANDED_BACK = [*CLAIM, Running(), state_after_return("Its worker was shut down.")]
PAUSED = [*CLAIM, Running(), Suspended(), Scheduled(name="Resuming")]
OWN_RETRY = [AwaitingRetry(), Running(name="Retrying")]
"""Of Prefect's engine, within one attempt."""


@pytest.mark.parametrize(
    ("history", "starts"),
    [
        ([], 0),
        (MADE, 0),
        ([*MADE, *CLAIM], 1),
        ([*MADE, *CLAIM, Running()], 1),
        ([*MADE, *NEVER_REACHED * 3, *CLAIM], 4),
        ([*MADE, *LOST * 2, *CLAIM, Running()], 3),
        ([*MADE, *YIELDED * 40, *CLAIM, Running()], 1),
        ([*MADE, *LOST, *YIELDED * 3, *LOST, *HANDED_BACK, *CLAIM, Running()], 3),
        ([*MADE, *PAUSED * 3, *CLAIM, Running()], 1),
        ([*MADE, *HANDED_BACK * 9, *CLAIM], 1),
        ([*MADE, *CLAIM, Running(), *OWN_RETRY * 3], 1),
        ([*MADE, Scheduled(name="AwaitingConcurrencySlot"), *CLAIM], 1),
        ([*MADE, *LOST * 4, *CLAIM, Crashed(), AwaitingRetry(), *CLAIM], 1),  # "Retry" on Prefect's page
    ],
)
def test_claims_are_counted_and_those_that_gave_the_run_back_are_not(history, starts):
    assert count_attempts(history) == starts


@pytest.mark.parametrize("end", [Completed(), Failed(), Cancelled()])
def test_who_starts_an_ended_run_anew_has_all_attempts_again(end):
    assert count_attempts([*MADE, *LOST * 4, *CLAIM, end]) == 0


def test_the_pause_grows_and_is_bounded():
    assert [backoff_s(starts) for starts in (1, 2, 3, 4, 9, 10**6)] == [1, 4, 16, 60, 60, 60]


@pytest.mark.parametrize(("lost", "pause"), [(0, 1), (1, 4), (2, 16), (3, 60)])
def test_a_lost_attempt_is_followed_by_a_later_one(lost, pause):
    before = datetime.now(UTC)
    state = state_after_loss([*MADE, *NEVER_REACHED * lost, *CLAIM], "it was killed by SIGKILL", 5)
    left = (state.state_details.scheduled_time - before).total_seconds()
    assert state.name == "AwaitingRetry" and pause <= left < pause + 5
    assert state.message.startswith(f"Attempt {lost + 1} of 5 was lost: it was killed by SIGKILL.")


def test_the_last_attempt_is_followed_by_none():
    state = state_after_loss([*MADE, *NEVER_REACHED * 4, *CLAIM], "it was killed by SIGKILL", 5)
    assert state.is_crashed()
    assert (
        state.message == "Started 5 times and ended early each time; the last time it was killed by SIGKILL."
    )


def test_what_is_given_back_is_due_at_once_and_says_why():
    state = state_after_return("Its worker was shut down.")
    assert state.is_scheduled() and state.name == RESCHEDULED_STATE != "AwaitingRetry"
    assert state.state_details.scheduled_time <= datetime.now(UTC)


DONE = Completed(message="done")
LATE_REQUEUE = state_after_loss([*MADE, *CLAIM, Running()], "its worker ended", 5)


@pytest.mark.parametrize(
    ("history", "end"),
    [
        ([*MADE, *CLAIM], None),
        ([*MADE, *LOST, *CLAIM, Running()], None),
        ([*MADE, *CLAIM, Running(), DONE, Pending()], DONE),
        ([*MADE, *CLAIM, Running(), DONE, *CLAIM], DONE),
        ([*MADE, *CLAIM, Running(), DONE, AwaitingRetry(), *CLAIM], None),  # "Retry" on Prefect's page
        ([*MADE, *CLAIM, Running(), DONE, LATE_REQUEUE], DONE),
        ([*MADE, *CLAIM, Running(), DONE, LATE_REQUEUE, *CLAIM], DONE),
        ([*MADE, *CLAIM, Running(), LATE_REQUEUE, *CLAIM], None),
        ([*MADE, *CLAIM, Running(), DONE, AwaitingRetry(), *CLAIM, LATE_REQUEUE, *CLAIM], None),
    ],
)
def test_an_end_that_a_late_claim_has_replaced_is_found(history, end):
    assert end_before_claim(history) is end


def test_a_lost_claim_of_an_ended_run_restores_its_end():
    assert state_after_loss([*MADE, *CLAIM, Running(), DONE, *CLAIM], "its worker ended", 5) is DONE
