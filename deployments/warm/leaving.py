"""Graceful shutdown: the first SIGTERM drains a worker, the second requeues its runs, the third exits."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

_HAND_BACK_S: Final = 15.0
_LOOK_S: Final = 0.05


class Leaving:
    """Handles SIGTERM and SIGINT of a worker: drain, requeue, exit."""

    def __init__(
        self,
        drain_s: float,
        running: Callable[[], Sequence[UUID]],
        hand_back: Callable[[UUID], None],
        leave: Callable[[], None],
        say: Callable[[str], None],
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
        self._drain_s, self._running, self._hand_back = drain_s, running, hand_back
        self._leave, self._say = leave, say
        self._signals = 0
        self._signalled = asyncio.Event()

    def listen(self) -> None:
        """Handle SIGTERM and SIGINT from now on, instead of earlier handlers."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
                loop.add_signal_handler(number, self._heard)

    def _heard(self) -> None:
        self._signals += 1
        self.has_begun = True
        self._signalled.set()
        if self._signals > 2:
            self._leave()

    async def see_off(self) -> None:
        """Wait for a signal, drain or requeue the runs, then end the worker."""
        await self._signalled.wait()
        if count := len(self._running()):
            limit = f"{self._drain_s:.0f} s"
            self._say(
                f"Draining: {count} runs may continue for at most {limit}; a second signal requeues them."
            )
        await self._wait(self._drain_s, lambda: self._signals < 2)
        for run_id in self._running():
            self._hand_back(run_id)
        await self._wait(_HAND_BACK_S, lambda: True)
        self._leave()

    async def _wait(self, limit_s: float, patient: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self._running() and patient():
                    await asyncio.sleep(_LOOK_S)
