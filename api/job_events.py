"""Events of a job for the event stream, derived from its current state; the server stores no event log."""

import re
from dataclasses import dataclass
from typing import Final

from api.problems import Problem
from api.runs import FINAL, Run

_STARTED: Final = 1
_ENDED: Final = 2
_MARK: Final = re.compile(r"([0-9])-([0-9]{1,6})")


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A position in the event stream of a job; its text form is the `id` of an event."""

    stage: int
    """0 queued, 1 started, 2 ended; -1 before the first event."""
    permille: int = 0
    """Progress in thousandths, 0 to 999."""

    def __str__(self) -> str:
        """Return the event id: stage and progress, joined by a hyphen."""
        return f"{self.stage}-{self.permille}"

    @classmethod
    def read(cls, text: str | None) -> "Mark":
        """
        Parse a Last-Event-ID header; an empty one is the position before the first event.

        Raises:
            Problem: `malformed_request` if it is not an id of this stream.
        """
        if not text:
            return BEFORE
        found = _MARK.fullmatch(text)
        if found is None:
            raise Problem("malformed_request", "Last-Event-ID is not an event id of this stream.")
        return cls(int(found[1]), int(found[2]))


BEFORE: Final = Mark(-1)


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a job."""

    mark: Mark
    name: str


def since(run: Run, last: Mark) -> list[Happened]:
    """
    Return the events of a job after a position.

    Args:
        job:       the job's current state.
        last_seen: position of the newest event that the client has received.

    Returns:
        In order: `queued`, `started`, `progress` (only the latest), and the final status. A retry after a
        crash repeats no event.
    """
    events = [Happened(Mark(0), "queued")]
    if run.started is not None or run.status == "running":
        events.append(Happened(Mark(_STARTED), "started"))
    if run.status == "running" and run.progress.percent > 0:
        permille = min(999, int(run.progress.percent * 10))
        events.append(Happened(Mark(_STARTED, permille), "progress"))
    if run.status in FINAL:
        events.append(Happened(Mark(_ENDED), run.status))
    return [event for event in events if event.mark > last]
