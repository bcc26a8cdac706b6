"""
One-second cache of jobs. Concurrent readers of a job share one request to Prefect.

Prefect's event stream invalidates an entry as soon as its job changes and wakes the requests that wait for
the change. The cache does not depend on the stream: without it, entries are still at most one second old.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final
from uuid import UUID

from api.jobs.model import FINAL_STATUSES, Job

if TYPE_CHECKING:
    from prefect.events import Event

MAX_AGE_S: Final = 1.0
_FINAL_MAX_AGE_S: Final = 60.0
"""An ended job changes only when it is deleted."""
_MAX_ENTRIES: Final = 10_000
_RECONNECT_DELAYS_S: Final = (0.2, 1.0, 5.0, 15.0)
_MAX_CHANGE_WAIT_S: Final = 0.5
"""Prefect emits no event for progress, so a wait for a change returns at least this often."""
_RUN_EVENT_PREFIX = "prefect.flow-run."

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _CacheEntry:
    job: Job
    expires_at: float
    """Monotonic time after which the entry is not used."""
    refresh_at: float
    """Monotonic time after which a read refreshes the entry in the background."""


class JobCache:
    """A cache of jobs, at most one second old, with notification of changes."""

    def __init__(self, read: Callable[[UUID], Awaitable[Job]], max_age_s: float = MAX_AGE_S) -> None:
        """
        Create an empty cache; the event stream is opened by the first read.

        Args:
            read:      reads a job from Prefect.
            max_age_s: maximum age of an entry, in seconds.
        """
        self._read, self._max_age_s = read, max_age_s
        self._entries: OrderedDict[UUID, _CacheEntry] = OrderedDict()
        self._requests: dict[UUID, asyncio.Task[Job]] = {}
        self._request_starts: dict[UUID, float] = {}
        self._change_events: dict[UUID, asyncio.Event] = {}
        self._listener: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the event stream."""
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener

    async def read(self, job_id: UUID) -> Job:
        """
        Return a job, from the cache or from Prefect.

        Raises:
            Problem: as raised by the read from Prefect; errors are not cached.
        """
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="events of jobs")
        entry, now = self._entries.get(job_id), time.monotonic()
        if entry is not None and now < entry.expires_at:
            self._entries.move_to_end(job_id)
            if now >= entry.refresh_at:
                self._start_request(job_id)  # in the background, so that the next reader does not wait
            return entry.job
        # shielded: a caller that is canceled must not cancel the request for the others
        return await asyncio.shield(self._start_request(job_id))

    def _start_request(self, job_id: UUID) -> "asyncio.Task[Job]":
        request, now = self._requests.get(job_id), time.monotonic()
        # what an older request returns was read too long ago for a new reader
        if request is None or now - self._request_starts[job_id] > self._max_age_s:
            request = asyncio.create_task(self._fetch(job_id))
            self._requests[job_id], self._request_starts[job_id] = request, now
            request.add_done_callback(lambda done: self._on_request_done(job_id, done))
        return request

    async def _fetch(self, job_id: UUID) -> Job:
        started_at = time.monotonic()  # the age of an entry counts from its request
        job = await self._read(job_id)
        if self._requests.get(job_id) is asyncio.current_task():  # else invalidated during the request
            max_age_s = _FINAL_MAX_AGE_S if job.status in FINAL_STATUSES else self._max_age_s
            self._entries[job_id] = _CacheEntry(job, started_at + max_age_s, started_at + max_age_s / 2)
            while len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
        return job

    def _on_request_done(self, job_id: UUID, request: asyncio.Task[Job]) -> None:
        if self._requests.get(job_id) is request:
            del self._requests[job_id], self._request_starts[job_id]
        if not request.cancelled():
            request.exception()  # mark as retrieved: callers that waited received it

    def invalidate(self, job_id: UUID) -> None:
        """Drop the cached job after a change, and wake the requests that wait for the change."""
        self._entries.pop(job_id, None)
        self._requests.pop(job_id, None)
        self._request_starts.pop(job_id, None)
        if change_event := self._change_events.pop(job_id, None):
            change_event.set()

    async def wait_for_change(self, job_id: UUID, limit_s: float) -> None:
        """
        Wait until a job may have changed, at most 0.5 s.

        Args:
            job_id:  the job.
            limit_s: maximum wait in seconds.
        """
        event = self._change_events.setdefault(job_id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(limit_s, _MAX_CHANGE_WAIT_S)):
                await event.wait()
        if not event.is_set() and self._change_events.get(job_id) is event:
            self._change_events.pop(job_id)
            event.set()  # wake the other waiters too: they share this event

    async def _listen(self) -> None:
        failures = 0
        # the import takes about a second and would block the event loop
        await asyncio.to_thread(import_module, "prefect.events.clients")
        while True:
            try:
                async for event in _subscribe_to_run_events():
                    failures = 0
                    self._on_event(event)
            except Exception as error:
                _log.info("job event stream disconnected: %s", error or type(error).__name__)
            await asyncio.sleep(_RECONNECT_DELAYS_S[min(failures, len(_RECONNECT_DELAYS_S) - 1)])
            failures += 1

    def _on_event(self, event: "Event") -> None:
        with contextlib.suppress(ValueError):
            self.invalidate(UUID(str(event.resource.id).removeprefix(_RUN_EVENT_PREFIX)))


async def _subscribe_to_run_events() -> "AsyncGenerator[Event]":
    from prefect.events.clients import get_events_subscriber
    from prefect.events.filters import EventFilter, EventNameFilter

    event_filter = EventFilter(event=EventNameFilter(prefix=[_RUN_EVENT_PREFIX]))
    async with get_events_subscriber(filter=event_filter, reconnection_attempts=0) as events:
        async for event in events:
            yield event
