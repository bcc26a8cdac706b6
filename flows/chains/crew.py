"""Dispatcher of child jobs: submits them up to a limit and tracks them."""

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
    """Submits child jobs up to a limit and tracks them. Its state can be rebuilt from the server."""

    def __init__(self, parts: Parts, limit: int) -> None:
        """
        Load the child jobs that were created before.

        Args:
            children: child jobs of the run.
            limit:    maximum number of unfinished child jobs.
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
        """Child jobs that have not ended."""
        return [self._newest[key] for key in self._open.values()]

    def part(self, key: str) -> Part | None:
        """Return the newest child job for some work; None if there is none."""
        return self._newest.get(key)

    def take(self, work: Work) -> Part | None:
        """
        Submit a child job, unless one for the same work exists and is not to be retried.

        Returns:
            The child job; None if the limit is reached.
        """
        known = self._newest.get(work.key)
        if known is not None and not known.is_told:
            return known
        if len(self._open) >= self._limit:
            return None
        part = self._newest[work.key] = self._begin(work)
        if not part.is_over:  # with a shared scope it may have ended earlier
            self._open[part.id] = work.key
        return part

    def _begin(self, work: Work) -> Part:
        while True:
            self._attempts[work.key] += 1
            part = self._parts.start(work, self._attempts[work.key])
            if not part.is_told:  # otherwise it is an earlier attempt of another run
                return part

    def look(self) -> list[Part]:
        """
        Poll the unfinished child jobs.

        Returns:
            Those that have ended since the last poll. If a child job was deleted, its work is submitted
            again.
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
        Cancel the unfinished child jobs if the parent is canceled or exceeds its time limit.

        This is best effort: there is little time, and a parent without a worker slot receives no signal. The
        janitor cancels the remaining child jobs.
        """
        try:
            yield
        except DeadlineExceeded:
            self._parts.cancel(self.unfinished, MAX_TIME)
            raise
        except (Stopped, TerminationSignal):  # also raised when a worker shuts down
            word = self._parts.why_ended()
            if word:
                self._parts.cancel(self.unfinished, word)
            raise
