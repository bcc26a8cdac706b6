"""What happened to a job, in order, read off from where it stands: nothing is kept between two readers."""

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
    """A place in a job's life; its text is the `id` of an event."""

    stage: int
    """0 it waits, 1 it has started, 2 it has ended."""
    permille: int = 0

    def __str__(self) -> str:
        """Write it as an event's id."""
        return f"{self.stage}-{self.permille}"

    @classmethod
    def read(cls, text: str | None) -> "Mark":
        """
        Read a Last-Event-ID.

        Raises:
            Problem: `malformed_request`.
        """
        if not text:
            return BEFORE
        found = _MARK.fullmatch(text)
        if found is None:
            raise Problem("malformed_request", "Last-Event-ID is none of this stream's.")
        return cls(int(found[1]), int(found[2]))


BEFORE: Final = Mark(-1)


@dataclass(frozen=True, slots=True)
class Happened:
    """One event."""

    mark: Mark
    name: str


def since(run: Run, last: Mark) -> list[Happened]:
    """
    Say what happened to a job after a mark.

    Args:
        run:  the job as it stands.
        last: the newest event that its reader has.

    Returns:
        In order: `queued`, `started`, `progress` (only the latest), and how it ended. A job that is tried
        again after a crash does not go back.
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
