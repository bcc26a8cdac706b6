"""
Schedules and time windows: which cron times are due, and which objects a bucket watch processes.

Missed times are handled by the catch-up policy or a backfill. Pure functions without state or I/O, so
concurrent planners compute the same times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from flows.schemas.batch import RenderNewJob
from flows.schemas.schedule import CatchUp, Schedule

ON_TIME_TOLERANCE_S: Final = 300.0
"""Seconds within which a time still counts as on time; the scheduler runs about once a minute."""
MAX_DUE_TIMES: Final = 1000
"""Maximum number of times in one plan; the newest are kept."""
WINDOW_OVERLAP: Final = timedelta(days=1)
"""Overlap with the previous window: a large upload appears late, because its time is that of its start."""


def due_times(
    now: datetime, last: datetime | None, schedule: Schedule, policy: CatchUp = "latest"
) -> list[datetime]:
    """
    Return the times of a schedule for which work is due.

    Daylight saving is handled as cron does: a skipped time of day runs right after the gap, a repeated one
    runs once, and schedules in minutes or hours follow elapsed time.

    Args:
        now:      current time, with a time zone.
        last:     newest time handled so far. None: no time was handled yet; only times that are still on time
            are due.
        schedule: cron schedule.
        policy:   for missed times: skip drops them, latest keeps the newest, all keeps every one.

    Returns:
        Times in UTC, oldest first, after `last` and not after `now`; at most `MAX_DUE_TIMES`, the newest.
    """
    on_time = now - timedelta(seconds=ON_TIME_TOLERANCE_S)
    after = on_time if last is None else last
    if policy == "skip":
        after = max(after, on_time)
    return sorted(islice(_times_descending(schedule, now, after), 1 if policy == "latest" else MAX_DUE_TIMES))


def time_before(time: datetime, schedule: Schedule) -> datetime | None:
    """
    Return the last scheduled time before another time; None if there is none within four years.

    Args:
        time:     with a time zone.
        schedule: cron schedule.
    """
    four_years = timedelta(days=4 * 366)
    tick = timedelta(microseconds=1)
    return next(_times_descending(schedule, time - tick, time - four_years), None)


def _times_descending(schedule: Schedule, newest: datetime, after: datetime) -> Iterator[datetime]:
    """
    Yield the scheduled times in descending order, from `newest` (inclusive) down to `after` (exclusive).

    Raises:
        ValueError: a time has no time zone.
    """
    if newest.tzinfo is None or after.tzinfo is None:
        raise ValueError("the time has no time zone")
    # CronSim starts before the given time and ignores its seconds: begin a minute later and filter
    search_start = newest.astimezone(ZoneInfo(schedule.timezone)) + timedelta(minutes=1)
    for local_time in CronSim(schedule.cron, search_start, reverse=True):
        time = local_time.astimezone(UTC)
        if time <= after:
            return
        if time <= newest:
            yield time


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
