"""
Time windows that a run of a bucket watch has to process, derived from its schedule.

Pure functions, like `flows.catch_up`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flows.batch_schemas import RenderNewJob
from flows.catch_up import Schedule, due_times, time_before

WINDOW_OVERLAP: Final = timedelta(days=1)
"""Overlap with the previous window: a large upload appears late, because its time is that of its start."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A time window: start exclusive, end inclusive."""

    start: datetime | None
    """None: no lower limit."""
    end: datetime

    def contains(self, time: datetime) -> bool:
        """Return whether a time is inside the window."""
        return (self.start is None or time > self.start) and time <= self.end


def windows_to_process(job: RenderNewJob, now: datetime, last: datetime | None) -> list[TimeWindow]:
    """
    Return the time windows that a run has to process.

    Args:
        job:  request of the watch.
        now:  start of the run, with a time zone.
        last: time up to which an earlier run processed objects; None if there was none.

    Returns:
        Time windows, oldest first. With catch-up `all` they overlap the previous window by a day, for objects
        that appeared late; objects that were processed already are recognized by their idempotency key.
    """
    if job.since is not None:
        tick = timedelta(microseconds=1)
        return [TimeWindow(job.since - tick, (job.until - tick) if job.until else now)]
    if job.schedule is None:
        return [TimeWindow(_with_overlap(last), now)]
    times = due_times(now, last, job.schedule, job.catch_up)
    if not times:
        return []
    if job.catch_up == "all":
        start = time_before(times[0], job.schedule) if last is None else last
        return [TimeWindow(_with_overlap(start), times[-1])]
    return [TimeWindow(_window_start(time, job.schedule, last), time) for time in times]


def watermark_after(job: RenderNewJob, windows: Sequence[TimeWindow]) -> datetime | None:
    """Return the time up to which a run processes objects; None for a backfill, which keeps the watermark."""
    return windows[-1].end if windows and job.since is None else None


def _with_overlap(time: datetime | None) -> datetime | None:
    return time - WINDOW_OVERLAP if time else None


def _window_start(time: datetime, schedule: Schedule, last: datetime | None) -> datetime | None:
    start = time_before(time, schedule)
    return max(start, last) if start and last else start or last
