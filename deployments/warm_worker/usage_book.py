"""Usage of the attempts of a worker, written to the ledger of usage in the system's own store."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from deployments.warm_worker.run_metrics import type_label
from flows.prefect_state.labels import PARENT_TAG
from flows.prefect_state.queue_order import tenant_of
from flows.registry import ORCHESTRATION_JOB_TYPES
from tasks.catalog.usage_ledger import UNFINISHED, Sums, UsageKey, add_sum, attempt_sum, write_part

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from tasks.run.usage import RunUsage

_WRITE_DELAY_S: Final = 5.0
"""Time after the end of an attempt until it is written; attempts that end meanwhile are written with it."""
_WRITE_INTERVAL_S: Final = 60.0
"""Time after which the usage of running attempts is written again."""

_KEPT: Final = timedelta(days=2)
"""Age of the sums that are kept in memory: a clock that is set back must not replace them by smaller ones."""

RunningAttempt = tuple["FlowRun", str, "RunUsage", float]
"""Run, name of its flow, usage so far, and seconds so far."""


def usage_key(run: "FlowRun", flow: str, engine: str | None) -> UsageKey:
    """
    Return for whom a run uses something.

    Args:
        run:    the run; its tags name its tenant and its batch.
        flow:   name of its flow; empty if the flow was not loaded.
        engine: its engine.
    """
    parent = next((tag.removeprefix(PARENT_TAG) for tag in run.tags if tag.startswith(PARENT_TAG)), None)
    batch = str(run.id) if flow in ORCHESTRATION_JOB_TYPES and parent is None else parent
    return UsageKey(tenant_of(run.tags), batch, type_label(flow), engine)


class UsageBook:
    """
    The sums of a worker process by day.

    An attempt that is running when the worker writes is included as far as it is, in the object of the
    present day, so that little is missing if the worker is killed.
    """

    def __init__(
        self,
        list_running: Callable[[], Iterable[RunningAttempt]],
        log: Callable[[str], None],
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        """
        Begin without attempts.

        Args:
            list_running: returns the attempts that run now.
            log:          called with each log line.
            today:        returns the present day.
        """
        self._list_running, self._log, self._today = list_running, log, today
        self._writer = uuid4().hex
        self._ended: dict[date, Sums] = {}
        self._changes: dict[date, int] = {}
        """Days that are not written yet, with the number of their changes since."""
        self._day_with_running: date | None = None
        self._lock, self._write_lock = threading.Lock(), threading.Lock()
        self._has_news = asyncio.Event()

    def add(self, run: "FlowRun", flow: str, usage: "RunUsage", result: str, seconds: float) -> None:
        """Add an attempt that has ended."""
        key, day = usage_key(run, flow, usage.engine), self._today()
        with self._lock:
            add_sum(self._ended.setdefault(day, {}), key, attempt_sum(usage, result, seconds))
            self._changes[day] = self._changes.get(day, 0) + 1
        self._has_news.set()

    def end_running(self) -> None:
        """Add the attempts that run now as ended: their worker ends before them."""
        for run, flow, usage, seconds in self._list_running():
            self.add(run, flow, usage, "lost", seconds)
        self._list_running = lambda: ()

    async def write_forever(self) -> None:
        """Write what is new, until cancelled."""
        while True:
            try:
                await asyncio.wait_for(self._has_news.wait(), _WRITE_INTERVAL_S)
                await asyncio.sleep(_WRITE_DELAY_S)
            except TimeoutError:
                pass
            self._has_news.clear()
            running = list(self._list_running())
            await asyncio.to_thread(self.write, running)

    def write(self, running: Iterable[RunningAttempt] = ()) -> None:
        """Write the days that have changed; those that cannot be written are tried again the next time."""
        with self._write_lock:  # an older content must not replace a newer one
            self._write(running)

    def _write(self, running: Iterable[RunningAttempt]) -> None:
        today, unfinished = self._today(), Sums()
        for run, flow, usage, seconds in running:
            add_sum(unfinished, usage_key(run, flow, usage.engine), attempt_sum(usage, UNFINISHED, seconds))
        with self._lock:
            changes = dict(self._changes)
            if self._day_with_running is not None:  # without those that have ended since
                changes.setdefault(self._day_with_running, 0)
            if unfinished:
                changes.setdefault(today, 0)
            content = {day: dict(self._ended.get(day, {})) for day in changes}
        for key, more in unfinished.items():
            add_sum(content[today], key, more)
        for day, sums in sorted(content.items()):
            try:
                write_part(day, self._writer, sums)
            except Exception as error:
                self._log(f"the usage of {day} was not written: {error or type(error).__name__}")
                with self._lock:
                    self._changes.setdefault(day, 0)
            else:
                self._mark_written(day, changes[day], today)
        self._day_with_running = today if unfinished else None

    def _mark_written(self, day: date, changes: int, today: date) -> None:
        """Mark a day as written unless it has changed meanwhile, and drop the sums of days long past."""
        with self._lock:
            if self._changes.get(day, 0) == changes:
                self._changes.pop(day, None)
            for past in [one for one in self._ended if today - one > _KEPT and one not in self._changes]:
                del self._ended[past]
