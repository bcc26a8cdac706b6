"""Due times of a schedule: missed times, clock jumps and invalid schedules."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from flows.batches.planner import MAX_DUE_TIMES, due_times
from flows.schemas.schedule import Schedule

BERLIN = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")
HOURLY = Schedule(cron="0 * * * *")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times_between(start, end, schedule):
    """All times from `start` on, before `end`."""
    tick = timedelta(microseconds=1)
    return due_times(end - tick, start - tick, schedule, "all")


def test_the_three_policies_after_three_missed_hours():
    now, last = at("2026-11-27T12:30"), at("2026-11-27T09:00")
    missed = [at(f"2026-11-27T{hour}:00") for hour in (10, 11, 12)]
    assert due_times(now, last, HOURLY, "all") == missed
    assert due_times(now, last, HOURLY, "latest") == missed[-1:]
    assert due_times(now, last, HOURLY, "skip") == []


@pytest.mark.parametrize("policy", ["skip", "latest", "all"])
def test_a_time_that_has_just_come_is_due_whatever_the_policy(policy):
    now = at("2026-11-27T12:00:40")
    assert due_times(now, at("2026-11-27T11:00"), HOURLY, policy) == [at("2026-11-27T12:00")]
    assert due_times(now, at("2026-11-27T12:00"), HOURLY, policy) == [], "it was dealt with"
    assert due_times(now, None, HOURLY, policy) == [at("2026-11-27T12:00")], "the first time ever"
    assert due_times(now + timedelta(hours=0.5), None, HOURLY, policy) == [], (
        "nothing was missed before it was set up"
    )


def test_the_hour_that_is_left_out_comes_after_the_gap_and_the_double_one_counts_once():
    spring = times_between(at("2026-03-28T00:00"), at("2026-03-31T00:00"), BERLIN)
    assert spring == [at("2026-03-28T01:30"), at("2026-03-29T01:00"), at("2026-03-30T00:30")]
    autumn = times_between(at("2026-10-24T00:00"), at("2026-10-27T00:00"), BERLIN)
    assert autumn == [at("2026-10-24T00:30"), at("2026-10-25T00:30"), at("2026-10-26T01:30")]
    assert due_times(at("2026-03-29T12:00"), at("2026-03-28T01:30"), BERLIN, "all") == spring[1:2]
    assert due_times(at("2026-10-25T12:00"), at("2026-10-25T00:30"), BERLIN, "all") == []


def test_every_half_hour_goes_by_the_hours_that_pass():
    often = Schedule(cron="*/30 * * * *", timezone="Europe/Berlin")
    days = {"2026-03-29": 46, "2026-10-25": 50, "2026-07-01": 48}
    for day, times in days.items():
        start = Schedule(cron="0 0 * * *", timezone="Europe/Berlin")
        noon = at(f"{day}T10:00")
        (begin,) = times_between(noon - timedelta(hours=20), noon, start)
        (end,) = times_between(noon, noon + timedelta(hours=20), start)
        assert len(times_between(begin, end, often)) == times, day


def test_planning_in_steps_plans_the_same_as_at_once():
    steps, last, now = [], at("2026-10-24T20:00"), at("2026-10-24T20:00")
    while now < at("2026-10-26T20:00"):
        now += timedelta(minutes=7)
        found = due_times(now, last, BERLIN, "all") + due_times(now, last, HOURLY, "all")
        steps += sorted(found)
        last = max(found, default=last)
    whole = due_times(now, at("2026-10-24T20:00"), BERLIN, "all") + due_times(
        now, at("2026-10-24T20:00"), HOURLY, "all"
    )
    assert steps == sorted(whole)


def test_a_plan_is_bounded_and_a_backfill_says_so():
    minutely = Schedule(cron="* * * * *")
    now = at("2026-11-27T12:00")
    plan = due_times(now, now - timedelta(days=365), minutely, "all")
    assert len(plan) == MAX_DUE_TIMES and plan[-1] == now


def test_times_need_a_zone():
    with pytest.raises(ValueError, match="zone"):
        due_times(datetime(2026, 11, 27), None, HOURLY)
    with pytest.raises(ValueError, match="zone"):
        due_times(at("2026-11-28T10:00"), datetime(2026, 11, 27), HOURLY)


@pytest.mark.parametrize(
    "wrong",
    [{"cron": "30 2 * *"}, {"cron": "61 * * * *"}, {"cron": "@daily"}, {"cron": ""}, {"cron": "0 0 31 2 *"}]
    + [{"cron": "0 * * * *", "timezone": zone} for zone in ("Mars/Base", "", "../etc/passwd", "CET2")],
)
def test_nonsense(wrong):
    with pytest.raises(ValidationError):
        Schedule(**wrong)
