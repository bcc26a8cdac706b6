"""How a worker leaves: SIGTERM has it finish what runs, another hands that back, a third is not discussed."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

_HAND_BACK_S: Final = 15.0
_LOOK_S: Final = 0.05


class Leaving:
    """Listens for signals and sees a worker off."""

    def __init__(
        self,
        drain_s: float,
        running: Callable[[], Sequence[UUID]],
        hand_back: Callable[[UUID], None],
        leave: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        """
        Describe it.

        Args:
            drain_s:   how long runs may go on after the first signal.
            running:   the worker's runs of this moment.
            hand_back: stops a run, which is then queued again for another worker.
            leave:     ends the worker.
            say:       receives a line for the log.
        """
        self.has_begun = False
        self._drain_s, self._running, self._hand_back = drain_s, running, hand_back
        self._leave, self._say = leave, say
        self._signals = 0
        self._signalled = asyncio.Event()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on, whoever had them before."""
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
        """Wait for a signal, then for the runs, then end the worker."""
        await self._signalled.wait()
        if count := len(self._running()):
            limit = f"{self._drain_s:.0f} s"
            self._say(f"Draining: {count} runs go on for at most {limit}; another signal hands them back.")
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
