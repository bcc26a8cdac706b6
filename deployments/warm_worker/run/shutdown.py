"""Graceful shutdown: the first SIGTERM drains a worker, the second requeues its runs, the third exits."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

_REQUEUE_TIMEOUT_S: Final = 15.0
_POLL_INTERVAL_S: Final = 0.05


class GracefulShutdown:
    """Handles SIGTERM and SIGINT of a worker: drain, requeue, exit."""

    def __init__(
        self,
        drain_s: float,
        list_running: Callable[[], Sequence[UUID]],
        requeue: Callable[[UUID], None],
        stop_worker: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        """
        Configure the shutdown; `install_signal_handlers` and `run` start it.

        Args:
            drain_s:      seconds for which runs may continue after the first signal.
            list_running: returns the ids of the worker's current runs.
            requeue:      stops a run and queues it again for another worker.
            stop_worker:  ends the worker.
            log:          called with each log line.
        """
        self.has_begun = False
        self._drain_s, self._list_running, self._requeue = drain_s, list_running, requeue
        self._stop_worker, self._log = stop_worker, log
        self._signal_count = 0
        self._signalled = asyncio.Event()

    def install_signal_handlers(self) -> None:
        """Handle SIGTERM and SIGINT from now on, instead of earlier handlers."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        self._signal_count += 1
        self.has_begun = True
        self._signalled.set()
        if self._signal_count > 2:
            self._stop_worker()

    async def run(self) -> None:
        """Wait for a signal, drain or requeue the runs, then end the worker."""
        await self._signalled.wait()
        if count := len(self._list_running()):
            limit = f"{self._drain_s:.0f} s"
            self._log(
                f"Draining: {count} runs may continue for at most {limit}; a second signal requeues them."
            )
        await self._wait_for_runs(self._drain_s, lambda: self._signal_count < 2)
        for run_id in self._list_running():
            self._requeue(run_id)
        await self._wait_for_runs(_REQUEUE_TIMEOUT_S, lambda: True)
        self._stop_worker()

    async def _wait_for_runs(self, limit_s: float, should_wait: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self._list_running() and should_wait():
                    await asyncio.sleep(_POLL_INTERVAL_S)
