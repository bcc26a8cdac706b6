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

from api.runs import FINAL, Run

if TYPE_CHECKING:
    from prefect.events import Event

STALE_S: Final = 1.0
_FINAL_STALE_S: Final = 60.0
"""An ended job changes only when it is deleted."""
_KEPT: Final = 10_000
_PAUSES_S: Final = (0.2, 1.0, 5.0, 15.0)
_PROGRESS_S: Final = 0.5
"""Prefect emits no event for progress, so a wait for a change returns at least this often."""
_RUN = "prefect.flow-run."

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    run: Run
    until: float
    """Monotonic time after which the entry is not used."""
    renew_at: float
    """Monotonic time after which a read refreshes the entry in the background."""


class Live:
    """A cache of jobs, at most one second old, with notification of changes."""

    def __init__(self, read: Callable[[UUID], Awaitable[Run]], stale_s: float = STALE_S) -> None:
        """
        Create an empty cache; the event stream is opened by the first read.

        Args:
            read:      reads a job from Prefect.
            max_age_s: maximum age of an entry, in seconds.
        """
        self._read, self._stale_s = read, stale_s
        self._known: OrderedDict[UUID, _Known] = OrderedDict()
        self._asking: dict[UUID, asyncio.Task[Run]] = {}
        self._waiting: dict[UUID, asyncio.Event] = {}
        self._listening: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the event stream."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    async def read(self, job_id: UUID) -> Run:
        """
        Return a job, from the cache or from Prefect.

        Raises:
            Problem: as raised by the read from Prefect; errors are not cached.
        """
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="events of jobs")
        known, now = self._known.get(job_id), time.monotonic()
        if known is not None and now < known.until:
            self._known.move_to_end(job_id)
            if now >= known.renew_at:
                self._start_asking(job_id)  # in the background, so that the next reader does not wait
            return known.run
        # shielded: a caller that is canceled must not cancel the request for the others
        return await asyncio.shield(self._start_asking(job_id))

    def _start_asking(self, job_id: UUID) -> "asyncio.Task[Run]":
        asking = self._asking.get(job_id)
        if asking is None:
            asking = asyncio.create_task(self._ask(job_id))
            self._asking[job_id] = asking
            asking.add_done_callback(lambda done: self._asked(job_id, done))
        return asking

    async def _ask(self, job_id: UUID) -> Run:
        began = time.monotonic()  # the age of an entry counts from its request
        run = await self._read(job_id)
        if self._asking.get(job_id) is asyncio.current_task():  # else invalidated during the request
            kept_s = _FINAL_STALE_S if run.status in FINAL else self._stale_s
            self._known[job_id] = _Known(run, began + kept_s, began + kept_s / 2)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return run

    def _asked(self, job_id: UUID, done: asyncio.Task[Run]) -> None:
        if self._asking.get(job_id) is done:
            del self._asking[job_id]
        if not done.cancelled():
            done.exception()  # mark as retrieved: callers that waited received it

    def forget(self, job_id: UUID) -> None:
        """Drop the cached job after a change, and wake the requests that wait for the change."""
        self._known.pop(job_id, None)
        self._asking.pop(job_id, None)
        if waiting := self._waiting.pop(job_id, None):
            waiting.set()

    async def changed(self, job_id: UUID, limit_s: float) -> None:
        """
        Wait until a job may have changed, at most 0.5 s.

        Args:
            job_id:  the job.
            limit_s: maximum wait in seconds.
        """
        event = self._waiting.setdefault(job_id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(limit_s, _PROGRESS_S)):
                await event.wait()
        if not event.is_set() and self._waiting.get(job_id) is event:
            self._waiting.pop(job_id)
            event.set()  # wake the other waiters too: they share this event

    async def _listen(self) -> None:
        failures = 0
        # the import takes about a second and would block the event loop
        await asyncio.to_thread(import_module, "prefect.events.clients")
        while True:
            try:
                async for event in _job_events():
                    failures = 0
                    self._hear(event)
            except Exception as error:
                _log.info("job event stream disconnected: %s", error or type(error).__name__)
            await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
            failures += 1

    def _hear(self, event: "Event") -> None:
        with contextlib.suppress(ValueError):
            self.forget(UUID(str(event.resource.id).removeprefix(_RUN)))


async def _job_events() -> "AsyncGenerator[Event]":
    from prefect.events.clients import get_events_subscriber
    from prefect.events.filters import EventFilter, EventNameFilter

    wanted = EventFilter(event=EventNameFilter(prefix=[_RUN]))
    async with get_events_subscriber(filter=wanted, reconnection_attempts=0) as events:
        async for event in events:
            yield event
