"""Events of a job for the event stream, derived from its current state; the server stores no event log."""

import re
from dataclasses import dataclass
from typing import Final

from api.problems import Problem
from api.runs import FINAL_STATUSES, Job

_STAGE_STARTED: Final = 1
_STAGE_ENDED: Final = 2
_EVENT_ID: Final = re.compile(r"([0-9])-([0-9]{1,6})")


@dataclass(frozen=True, slots=True, order=True)
class EventPosition:
    """A position in the event stream of a job; its text form is the `id` of an event."""

    stage: int
    """0 queued, 1 started, 2 ended; -1 before the first event."""
    permille: int = 0
    """Progress in thousandths, 0 to 999."""

    def __str__(self) -> str:
        """Return the event id: stage and progress, joined by a hyphen."""
        return f"{self.stage}-{self.permille}"

    @classmethod
    def parse(cls, text: str | None) -> "EventPosition":
        """
        Parse a Last-Event-ID header; an empty one is the position before the first event.

        Raises:
            Problem: `malformed_request` if it is not an id of this stream.
        """
        if not text:
            return BEFORE_FIRST_EVENT
        match = _EVENT_ID.fullmatch(text)
        if match is None:
            raise Problem("malformed_request", "Last-Event-ID is not an event id of this stream.")
        return cls(int(match[1]), int(match[2]))


BEFORE_FIRST_EVENT: Final = EventPosition(-1)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event of a job."""

    position: EventPosition
    name: str


def events_after(job: Job, last_seen: EventPosition) -> list[JobEvent]:
    """
    Return the events of a job after a position.

    Args:
        job:       the job's current state.
        last_seen: position of the newest event that the client has received.

    Returns:
        In order: `queued`, `started`, `progress` (only the latest), and the final status. A retry after a
        crash repeats no event.
    """
    events = [JobEvent(EventPosition(0), "queued")]
    if job.started is not None or job.status == "running":
        events.append(JobEvent(EventPosition(_STAGE_STARTED), "started"))
    if job.status == "running" and job.progress.percent > 0:
        permille = min(999, int(job.progress.percent * 10))
        events.append(JobEvent(EventPosition(_STAGE_STARTED, permille), "progress"))
    if job.status in FINAL_STATUSES:
        events.append(JobEvent(EventPosition(_STAGE_ENDED), job.status))
    return [event for event in events if event.position > last_seen]
