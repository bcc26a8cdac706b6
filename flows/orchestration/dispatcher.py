"""Dispatcher of child jobs: submits them up to a limit and tracks them."""

from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from uuid import UUID

from prefect.exceptions import TerminationSignal

from flows.orchestration.child_jobs import ChildJob, ChildJobs, ChildSpec
from flows.schemas.control import REASON_MAX_TIME
from tasks.errors import DeadlineExceeded
from tasks.run.cancellation import Cancelled


class Dispatcher:
    """Submits child jobs up to a limit and tracks them. Its state can be rebuilt from the server."""

    def __init__(self, children: ChildJobs, limit: int) -> None:
        """
        Load the child jobs that were created before.

        Args:
            children: child jobs of the run.
            limit:    maximum number of unfinished child jobs.
        """
        self._children, self._limit = children, limit
        self._newest_by_key: dict[str, ChildJob] = {}
        self._attempts: defaultdict[str, int] = defaultdict(int)
        for part in children.list_all():
            self._newest_by_key[part.key] = part
            self._attempts[part.key] += 1
        self._open_keys: dict[UUID, str] = {
            part.id: key for key, part in self._newest_by_key.items() if not part.is_finished
        }

    @property
    def unfinished(self) -> list[ChildJob]:
        """Child jobs that have not ended."""
        return [self._newest_by_key[key] for key in self._open_keys.values()]

    def child_for(self, key: str) -> ChildJob | None:
        """Return the newest child job for some work; None if there is none."""
        return self._newest_by_key.get(key)

    def submit(self, spec: ChildSpec) -> ChildJob | None:
        """
        Submit a child job, unless one for the same work exists and is not to be retried.

        Returns:
            The child job; None if the limit is reached.
        """
        existing = self._newest_by_key.get(spec.key)
        if existing is not None and not existing.should_retry:
            return existing
        if len(self._open_keys) >= self._limit:
            return None
        child = self._newest_by_key[spec.key] = self._create_next_attempt(spec)
        if not child.is_finished:  # with a shared scope it may have ended earlier
            self._open_keys[child.id] = spec.key
        return child

    def _create_next_attempt(self, spec: ChildSpec) -> ChildJob:
        while True:
            self._attempts[spec.key] += 1
            child = self._children.create(spec, self._attempts[spec.key])
            if not child.should_retry:  # otherwise it is an earlier attempt of another run
                return child

    def poll(self, announced: Sequence[UUID] | None = None) -> list[ChildJob]:
        """
        Read the states of the unfinished child jobs.

        Args:
            announced: ids of those to read; other ids are ignored. None: all.

        Returns:
            Those that have ended since the last poll. If a child job was deleted, its work is submitted
            again.
        """
        wanted = self._open_keys if announced is None else set(announced)
        polled = {run: key for run, key in self._open_keys.items() if run in wanted}
        current = {child.id: child for child in self._children.read(list(polled))}
        ended: list[ChildJob] = []
        for run, key in polled.items():
            child = current.get(run)
            if child is None:
                del self._open_keys[run], self._newest_by_key[key]
                continue
            self._newest_by_key[key] = child
            if child.is_finished:
                del self._open_keys[run]
                ended.append(child)
        return ended

    @contextmanager
    def cancel_on_exit(self) -> Generator[None]:
        """
        Cancel the unfinished child jobs if the parent is canceled or exceeds its time limit.

        This is best effort: there is little time, and a parent without a worker slot receives no signal. The
        janitor cancels the remaining child jobs.
        """
        try:
            yield
        except DeadlineExceeded:
            self._children.cancel(self.unfinished, REASON_MAX_TIME)
            raise
        except (Cancelled, TerminationSignal):  # also raised when a worker shuts down
            reason = self._children.stop_reason()
            if reason:
                self._children.cancel(self.unfinished, reason)
            raise
