"""
Events of child jobs: tells a waiting batch or pipeline which of its child jobs have ended.

Events may be lost, for example with a killed server, and a server may have no event stream. Parents therefore
read the states of their child jobs from time to time as well; see `PoolSlot`.
"""

import asyncio
import contextvars
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Self
from uuid import UUID

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter

from flows.prefect_state.labels import parent_tag

END_EVENTS: Final = tuple(
    f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")
)
"""Events of ended runs. A run may also end in a state with another name."""
_RUN_PREFIX: Final = "prefect.flow-run."
_MAX_DELAY_S: Final = 15.0
"""Longest pause before a broken stream is connected again."""
_STOP_LIMIT_S: Final = 5.0

_log = logging.getLogger(__name__)


class ChildEvents:
    """The ends of the child jobs of one run and of the runs that it retries; listens while it is entered."""

    def __init__(self, parents: Iterable[UUID]) -> None:
        """
        Configure the stream; entering the object connects it, in a thread.

        Args:
            parents: ids of the runs whose child jobs are meant.
        """
        parent_tags = [f"prefect.tag.{parent_tag(run)}" for run in parents]
        self._filter = EventFilter(
            event=EventNameFilter(name=list(END_EVENTS)), any_resource=EventAnyResourceFilter(id=parent_tags)
        )
        self._ended: queue.SimpleQueue[UUID | None] = queue.SimpleQueue()
        self._stop: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None
        self.is_listening = False
        """Whether the stream is connected; otherwise the child jobs have to be read frequently."""

    def __enter__(self) -> Self:
        """Start to listen, without waiting for the connection."""
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._listen())
        self._stop = lambda: loop.call_soon_threadsafe(task.cancel)
        # the thread needs this thread's settings: the address of the server above all
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(_run_until_canceled, loop, task), name="child events", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop to listen."""
        with suppress(RuntimeError):  # the loop was closed already
            self._stop()
        if self._thread is not None:
            self._thread.join(_STOP_LIMIT_S)

    def wait(self, seconds: float) -> set[UUID | None]:
        """
        Wait until a child job ends, for a limited time.

        Args:
            seconds: the longest time to wait.

        Returns:
            Ids of child jobs that have ended since the last call; empty if none has. None among them means
            that any may have ended: the stream was not connected before.
        """
        ended: set[UUID | None] = set()
        with suppress(queue.Empty):
            ended.add(self._ended.get(timeout=max(0.0, seconds)))
            while True:
                ended.add(self._ended.get_nowait())
        return ended

    async def _listen(self) -> None:
        delay_s = 1.0
        while True:
            try:
                async with get_events_subscriber(filter=self._filter, reconnection_attempts=0) as events:
                    self.is_listening = True
                    self._ended.put(None)
                    async for event in events:
                        delay_s = 1.0
                        with suppress(ValueError):
                            self._ended.put(UUID(event.resource.id.removeprefix(_RUN_PREFIX)))
            except Exception as error:  # any error of the stream leads to a reconnect
                _log.debug("stream of child job events: %s", error or type(error).__name__)
            finally:
                self.is_listening = False
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _MAX_DELAY_S)


def _run_until_canceled(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
