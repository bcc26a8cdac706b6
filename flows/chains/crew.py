"""A bounded number of parts at work at a time."""

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from prefect.exceptions import TerminationSignal

from flows.chains.parts import Part, Parts, Work
from flows.control import MAX_TIME
from tasks.errors import DeadlineExceeded
from tasks.stopping import Stopped


class Crew:
    """Hands out work, and knows how far each piece is. All it knows can be read from the server again."""

    def __init__(self, parts: Parts, limit: int) -> None:
        """
        Find out what was begun before.

        Args:
            parts: of the run.
            limit: how many may be unfinished at a time.
        """
        self._parts, self._limit = parts, limit
        self._newest: dict[str, Part] = {}
        self._attempts: defaultdict[str, int] = defaultdict(int)
        for part in parts.all():
            self._newest[part.key] = part
            self._attempts[part.key] += 1
        self._open: dict[UUID, str] = {part.id: key for key, part in self._newest.items() if not part.is_over}

    @property
    def unfinished(self) -> list[Part]:
        """Parts that have not ended."""
        return [self._newest[key] for key in self._open.values()]

    def part(self, key: str) -> Part | None:
        """Return the newest part that does some work; None when nobody has begun with it."""
        return self._newest.get(key)

    def take(self, work: Work) -> Part | None:
        """
        See that somebody does a piece of work.

        Returns:
            Who does it, or did it; None when there is no room for it yet.
        """
        known = self._newest.get(work.key)
        if known is not None and not known.is_told:
            return known
        if len(self._open) >= self._limit:
            return None
        part = self._newest[work.key] = self._begin(work)
        if not part.is_over:  # under a name that is shared it may have been done long ago
            self._open[part.id] = work.key
        return part

    def _begin(self, work: Work) -> Part:
        while True:
            self._attempts[work.key] += 1
            part = self._parts.start(work, self._attempts[work.key])
            if not part.is_told:  # else somebody else's earlier attempt
                return part

    def look(self) -> list[Part]:
        """
        See who has finished.

        Returns:
            Those that ended since the last look; work whose part was deleted is done anew when it is taken.
        """
        seen = {part.id: part for part in self._parts.read(list(self._open))}
        ended: list[Part] = []
        for run, key in list(self._open.items()):
            part = seen.get(run)
            if part is None:
                del self._open[run], self._newest[key]
                continue
            self._newest[key] = part
            if part.is_over:
                del self._open[run]
                ended.append(part)
        return ended

    @contextmanager
    def at_work(self) -> Generator[None]:
        """
        Stop the parts, too, when their run is stopped or has had its time.

        There is little time for that, and a run that has no place at the moment hears nothing: what is left
        is the janitor's to stop.
        """
        try:
            yield
        except DeadlineExceeded:
            self._parts.cancel(self.unfinished, MAX_TIME)
            raise
        except (Stopped, TerminationSignal):  # also how a worker that leaves puts a run down
            word = self._parts.why_ended()
            if word:
                self._parts.cancel(self.unfinished, word)
            raise
