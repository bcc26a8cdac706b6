"""Selection of a run's objects by the time they were uploaded."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from flows.batches.planner import WINDOW_OVERLAP, watermark_after, windows_to_process
from flows.schemas.batch import BatchJob, RenderNewJob

DAILY = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}


def task(**more):
    return RenderNewJob(name="new", places={"audio": "s3://media/in/", "video": "s3://media/a.mp4"}, **more)


def at(day, hour, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def ends(found):
    return [(span.start, span.end) for span in found]


def test_without_times_all_since_the_last_look_and_a_day_more():
    now = at(20, 12)
    assert ends(windows_to_process(task(), now, None)) == [(None, now)]
    assert ends(windows_to_process(task(), now, at(19, 12))) == [(at(18, 12), now)]
    assert watermark_after(task(), windows_to_process(task(), now, None)) == now


def test_missed_times_are_caught_up_with_left_out_or_only_the_newest_is_taken():
    now, last = at(20, 1, 31), at(17, 1, 30)  # 2:31 in Berlin; three days were missed
    everything, newest, none = (
        windows_to_process(task(schedule=DAILY, catch_up=policy), now, last)
        for policy in ("all", "latest", "skip")
    )
    assert ends(everything) == [(last - WINDOW_OVERLAP, at(20, 1, 30))]
    assert ends(newest) == [(at(19, 1, 30), at(20, 1, 30))]
    assert ends(none) == [(at(19, 1, 30), at(20, 1, 30))]
    late = at(20, 9)
    assert windows_to_process(task(schedule=DAILY, catch_up="skip"), late, last) == []
    assert windows_to_process(task(schedule=DAILY), late, at(20, 1, 30)) == []


def test_the_first_look_by_a_schedule_goes_back_to_the_time_before():
    (span,) = windows_to_process(task(schedule=DAILY), at(20, 1, 30), None)
    assert span.end == at(20, 1, 30) and span.start == at(19, 1, 30) - WINDOW_OVERLAP


def test_a_backfill_has_its_own_span_and_says_nothing_of_the_present():
    job = task(since=at(1, 0), until=at(2, 0), schedule=DAILY)
    found = windows_to_process(job, at(20, 0), at(19, 0))
    (span,) = found
    assert (
        span.contains(at(1, 0))
        and not span.contains(at(2, 0))
        and span.contains(at(2, 0) - timedelta(seconds=1))
    )
    assert watermark_after(job, found) is None


@pytest.mark.parametrize(
    "more",
    [
        {"until": at(2, 0)},
        {"since": at(2, 0), "until": at(1, 0)},
        {"name": "New Things"},
        {"defaults": {"output": {"bucket": "media", "prefix": "/in/made/"}}},
        {"places": {"audio": "s3://media/one.wav"}},
        {"places": {"colour": "s3://media/in/"}},
        {"places": {"audio": "https://media/in/"}},
    ],
)
def test_what_is_no_task_is_refused(more):
    with pytest.raises(ValidationError):
        RenderNewJob(**{"name": "new", "places": {"audio": "s3://media/in/"}} | more)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"rows": [{}], "manifest": "s3://media/m.csv"},
        {"rows": []},
        {"places": {"audio": "s3://media/one.wav"}},
        {"rows": [{}], "parallel": 0},
        {"rows": [{}], "job_type": "batch"},
    ],
)
def test_what_is_no_batch_is_refused(more):
    with pytest.raises(ValidationError):
        BatchJob.model_validate({"job_type": "lip_sync"} | more)
