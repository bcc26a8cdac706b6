"""
Which times of a schedule are due, and what to do about those that were missed.

Pure: nothing is asked and nothing remembered, so that two who plan at once plan the same.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

CatchUp = Literal["skip", "latest", "all"]

ON_TIME_S: Final = 300.0
"""A time that is no older was not missed: who plans comes by every minute or so."""
MOST: Final = 1000
"""Times that one plan has at most, the newest."""


def _cron(text: str) -> str:
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError("a schedule has five parts, as in crontab: 30 2 * * * is half past two") from error
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("a time zone is named as in Europe/Berlin") from error
    return name


class Schedule(BaseModel):
    """When something is to be done, by the clock on the wall of some place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: Annotated[str, AfterValidator(_cron)] = Field(
        title="Cron", description="Minute, hour, day, month, weekday.", examples=["30 2 * * *"]
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", title="Time zone", description="Whose clock.", examples=["Europe/Berlin"]
    )


def due(
    now: datetime, last: datetime | None, schedule: Schedule, policy: CatchUp = "latest"
) -> list[datetime]:
    """
    Say for which times of a schedule work is due.

    Clocks that jump are treated as cron does: a time of day that is left out comes right after the gap, one
    that comes twice counts once; what is due every few minutes or hours goes by the hours that really pass.

    Args:
        now:      with a time zone.
        last:     the time that was dealt with last; None where none ever was: nothing before `now` was missed
            then, except what is still on time.
        schedule: the times.
        policy:   of those that were missed: skip leaves them out, latest takes the newest, all takes each.

    Returns:
        Times in UTC, oldest first, after `last` and not after `now`; at most `MOST`, the newest.
    """
    on_time = now - timedelta(seconds=ON_TIME_S)
    since = on_time if last is None else last
    if policy == "skip":
        since = max(since, on_time)
    return sorted(islice(_backwards(schedule, now, since), 1 if policy == "latest" else MOST))


def between(start: datetime, end: datetime, schedule: Schedule) -> list[datetime]:
    """
    List the times of a schedule in a span, for a backfill.

    Args:
        start:    with a time zone; itself included.
        end:      with a time zone; itself not.
        schedule: the times.

    Returns:
        Times in UTC, oldest first.

    Raises:
        ValueError: there are more than `MOST`.
    """
    just_before = timedelta(microseconds=1)
    found = sorted(islice(_backwards(schedule, end - just_before, start - just_before), MOST + 1))
    if len(found) > MOST:
        raise ValueError(f"this span has more than {MOST} times; make it shorter")
    return found


def before(time: datetime, schedule: Schedule) -> datetime | None:
    """
    Return the time of a schedule before another; None when there is none in the four years before.

    Args:
        time:     with a time zone.
        schedule: the times.
    """
    four_years = timedelta(days=4 * 366)
    just_before = timedelta(microseconds=1)
    return next(_backwards(schedule, time - just_before, time - four_years), None)


def _backwards(schedule: Schedule, newest: datetime, after: datetime) -> Iterator[datetime]:
    """
    Yield the times up to `newest`, the newest first, down to `after`, itself not included.

    Raises:
        ValueError: a time has no zone.
    """
    if newest.tzinfo is None or after.tzinfo is None:
        raise ValueError("a time needs its time zone")
    # the library begins before the time that it is given, and seldom looks at seconds
    begin = newest.astimezone(ZoneInfo(schedule.timezone)) + timedelta(minutes=1)
    for found in CronSim(schedule.cron, begin, reverse=True):
        time = found.astimezone(UTC)
        if time <= after:
            return
        if time <= newest:
            yield time
