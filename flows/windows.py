"""
Which objects a scheduled task has to look at: those that came within some spans of time.

Pure, like `flows.catch_up`, whose times it turns into spans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flows.batch_schemas import RenderNewJob
from flows.catch_up import Schedule, before, due

LOOK_BACK: Final = timedelta(days=1)
"""An object may show up later than its own time says: large uploads carry that of their beginning."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time: after its start, up to and with its end."""

    start: datetime | None
    """None: from ever."""
    end: datetime

    def holds(self, time: datetime) -> bool:
        """Tell whether a time lies in it."""
        return (self.start is None or time > self.start) and time <= self.end


def spans(job: RenderNewJob, now: datetime, last: datetime | None) -> list[Span]:
    """
    Say what a run has to look at.

    Args:
        job:  what is to be done.
        now:  when the run began, with a time zone.
        last: up to when an earlier run looked; None where none ever did.

    Returns:
        Spans, oldest first. With `all` they reach back a day further than that, for what came late: what was
        done before is known by its name.
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
    """Return up to when a run has looked; None for a backfill, which says nothing of the present."""
    return found[-1].end if found and job.since is None else None


def _earlier(time: datetime | None) -> datetime | None:
    return time - LOOK_BACK if time else None


def _start(time: datetime, schedule: Schedule, last: datetime | None) -> datetime | None:
    start = before(time, schedule)
    return max(start, last) if start and last else start or last
