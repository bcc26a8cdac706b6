"""
Cron schedules: which times are due, and how missed times are handled (catch-up, backfill).

Pure functions without state or input and output, so concurrent planners compute the same times.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

CatchUp = Literal["skip", "latest", "all"]

ON_TIME_TOLERANCE_S: Final = 300.0
"""Seconds within which a time still counts as on time; the scheduler runs about once a minute."""
MAX_DUE_TIMES: Final = 1000
"""Maximum number of times in one plan; the newest are kept."""


def _check_cron(text: str) -> str:
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError("expected five cron fields, for example 30 2 * * * (every day at 02:30)") from error
    return text


def _check_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("expected an IANA time zone, for example Europe/Berlin") from error
    return name


class Schedule(BaseModel):
    """A cron schedule in a time zone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: Annotated[str, AfterValidator(_check_cron)] = Field(
        title="Cron",
        description="Five cron fields: minute, hour, day, month, weekday.",
        examples=["30 2 * * *"],
    )
    timezone: Annotated[str, AfterValidator(_check_time_zone)] = Field(
        default="UTC",
        title="Time zone",
        description="IANA time zone of the cron fields.",
        examples=["Europe/Berlin"],
    )


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


def times_between(start: datetime, end: datetime, schedule: Schedule) -> list[datetime]:
    """
    Return the times of a schedule in a time range, for a backfill.

    Args:
        start:    with a time zone, inclusive.
        end:      with a time zone, exclusive.
        schedule: cron schedule.

    Returns:
        Times in UTC, oldest first.

    Raises:
        ValueError: the range has more than `MAX_DUE_TIMES` times.
    """
    tick = timedelta(microseconds=1)
    times = sorted(islice(_times_descending(schedule, end - tick, start - tick), MAX_DUE_TIMES + 1))
    if len(times) > MAX_DUE_TIMES:
        raise ValueError(f"the range has more than {MAX_DUE_TIMES} scheduled times; choose a shorter range")
    return times


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
