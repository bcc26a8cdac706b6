"""The ten attempts under a clock of our own."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from tasks.webhooks.retry_schedule import DELAYS_S, AttemptResponse, next_attempt

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAILED = AttemptResponse(500)


def plain(low, high):
    return (low + high) / 2


def delay_s(attempt, answered=FAILED, dice=plain):
    due = next_attempt(attempt, answered, NOW, dice)
    return None if due is None else (due - NOW).total_seconds()


def test_ten_attempts_go_on_for_75_hours_and_35_minutes():
    clock, attempt, times = NOW, 1, [NOW]
    while (due := next_attempt(attempt, FAILED, clock, plain)) is not None:
        clock, attempt = due, attempt + 1
        times.append(due)

    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert gaps == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert times[-1] - times[0] == timedelta(hours=75, minutes=35, seconds=5)
    assert len(times) == len(DELAYS_S) == 10


def test_the_dice_move_each_by_a_tenth():
    assert delay_s(2, dice=lambda low, high: low) == pytest.approx(270)
    assert delay_s(2, dice=lambda low, high: high) == pytest.approx(330)
    assert len({next_attempt(5, FAILED, NOW) for _ in range(20)}) > 10


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_is_a_success(status):
    assert AttemptResponse(status).is_success


@pytest.mark.parametrize("status", [None, 100, 301, 302, 304, 308, 400, 404, 410, 500])
def test_nothing_else_is(status):
    assert not AttemptResponse(status).is_success


def test_who_is_gone_is_left_alone_at_once():
    assert next_attempt(1, AttemptResponse(410), NOW) is None


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_receiver_that_asks_for_time_gets_it(status):
    assert delay_s(1, AttemptResponse(status, "120")) == 120
    later = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    assert delay_s(1, AttemptResponse(status, later)) == 90


def test_the_schedule_wins_where_it_is_slower():
    assert delay_s(3, AttemptResponse(503, "10")) == 1800


@pytest.mark.parametrize("status", [None, 400, 500])
def test_only_the_answers_that_mean_it_are_listened_to(status):
    assert delay_s(1, AttemptResponse(status, "120")) == 5


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-5", "1.5", "nan", "٣٠", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 99 Foo 2026 00:00:00 GMT"],
)
def test_a_wish_that_is_none_changes_nothing(text):
    assert delay_s(1, AttemptResponse(503, text)) == 5


@pytest.mark.parametrize(
    "text", ["9" * 30, "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -0000"]
)
def test_nobody_is_waited_for_longer_than_a_day(text):
    assert delay_s(1, AttemptResponse(503, text)) == 86_400
