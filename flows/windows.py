"""
Time windows that a run of a bucket watch has to process, derived from its schedule.

Pure functions, like `flows.catch_up`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flows.batch_schemas import RenderNewJob
from flows.catch_up import Schedule, before, due

LOOK_BACK: Final = timedelta(days=1)
"""Overlap with the previous window: a large upload appears late, because its time is that of its start."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time window: start exclusive, end inclusive."""

    start: datetime | None
    """None: no lower limit."""
    end: datetime

    def holds(self, time: datetime) -> bool:
        """Return whether a time is inside the window."""
        return (self.start is None or time > self.start) and time <= self.end


def spans(job: RenderNewJob, now: datetime, last: datetime | None) -> list[Span]:
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
        just_before = timedelta(microseconds=1)
        return [Span(job.since - just_before, (job.until - just_before) if job.until else now)]
    if job.schedule is None:
        return [Span(_earlier(last), now)]
    times = due(now, last, job.schedule, job.catch_up)
    if not times:
        return []
    if job.catch_up == "all":
        start = before(times[0], job.schedule) if last is None else last
        return [Span(_earlier(start), times[-1])]
    return [Span(_start(time, job.schedule, last), time) for time in times]


def looked_until(job: RenderNewJob, found: Sequence[Span]) -> datetime | None:
    """Return the time up to which a run processes objects; None for a backfill, which keeps the watermark."""
    return found[-1].end if found and job.since is None else None


def _earlier(time: datetime | None) -> datetime | None:
    return time - LOOK_BACK if time else None


def _start(time: datetime, schedule: Schedule, last: datetime | None) -> datetime | None:
    start = before(time, schedule)
    return max(start, last) if start and last else start or last
