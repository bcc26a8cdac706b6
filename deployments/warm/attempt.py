"""One attempt to execute a run in a child process: time limits, cancellation, and its final state."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prefect.client.schemas.objects import StateType

from deployments.warm.limits import Limit, is_expired, limit_of
from deployments.warm.placing import warm_names
from deployments.warm.protocol import Order, Why
from deployments.warm.settle import Settler
from deployments.warm.slot import Ended, Slot
from deployments.warm.template import WarmJobConfiguration
from flows.control import ABORTED, COMPLETE_IN, EXPIRED, MAX_TIME

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

_FINAL: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_LEFT: Final = frozenset({"SCHEDULED", "PAUSED"})
"""State types with which the engine itself has ended the attempt: suspended, or waiting for a retry."""
_CLAIMED: Final = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})
_OWN_FAULT: Final = frozenset({-4, -6, -7, -8, -11})
"""Exit codes of processes that crashed by themselves: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV."""
_NAMES: Final = {
    -4: "SIGILL",
    -6: "SIGABRT",
    -7: "SIGBUS",
    -8: "SIGFPE",
    -9: "SIGKILL",
    -11: "SIGSEGV",
    -15: "SIGTERM",
}
_WORDS: Final = {"time": MAX_TIME, "deadline": COMPLETE_IN}


class Attempt:
    """One execution of a run. `stop` may be called repeatedly and at any time, also before `execute`."""

    def __init__(
        self,
        run: "FlowRun",
        configuration: WarmJobConfiguration,
        settler: Settler,
        max_starts: int,
        log: "logging.Logger | logging.LoggerAdapter[Any]",
    ) -> None:
        """
        Prepare the execution of a claimed run.

        Args:
            run:           the claimed run.
            configuration: job configuration of the run.
            state_writer:  writes the run's states to the server.
            max_starts:    maximum number of attempts of a run.
            log:           logger of the run.
        """
        self.placed = False
        self._run, self._configuration, self._settler = run, configuration, settler
        self._max_starts, self._log = max_starts, log
        self._why: Why | None = None
        self._asked = asyncio.Event()
        self._limit: Limit | None = None

    def stop(self, why: Why) -> None:
        """Request the end of the run; the first reason is kept."""
        if self._why is None:
            self._why = why
            self._asked.set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` has been called."""
        return self._why is not None

    async def give_up(self) -> None:
        """Write the final state of a run that was stopped before it had a slot."""
        await self._settle(Ended(None, 0))

    async def execute(self, slot: Slot, scratch: Path) -> "State | None":
        """
        Execute the run in a free slot, and make sure that its final state is on the server.

        Args:
            slot:    the free slot.
            scratch: folder for temporary files of the run.

        Returns:
            A final state whose hooks still have to run, because the run's process could not; else None.
        """
        if is_expired(self._run):  # the deadline may have passed since the claim
            await self._settler.cancelled(self._run.id, EXPIRED, ABORTED)
            return None
        self._limit = limit_of(self._run, self._configuration.max_time)
        environment = {name: value for name, value in self._configuration.env.items() if value is not None}
        order = Order(str(self._run.id), environment, str(scratch))
        stopping = asyncio.create_task(self._stop_in_time(slot))
        try:
            ended = await slot.execute(order, warm_names(self._run))
        finally:
            stopping.cancel()
        has_hooks = slot.has_hooks
        state = await self._settle(ended)
        return state if has_hooks else None

    async def _stop_in_time(self, slot: Slot) -> None:
        limit = self._limit
        try:
            async with asyncio.timeout(limit.seconds if limit else None):
                await self._asked.wait()
        except TimeoutError:
            if limit is None:
                return
            self.stop(limit.why)
            # inform the server first, so that clients do not see the stopped run as failed
            asking = asyncio.create_task(
                self._settler.cancelling(self._run.id, limit.message, _WORDS[limit.why])
            )
            await asyncio.wait({asking}, timeout=1.0)
        self._log.info("Stopping: %s.", self._reason())
        await slot.stop(self._why or "cancel")

    def _reason(self) -> str:
        match self._why:
            case "cancel":
                return "it was cancelled"
            case "time" | "deadline" if self._limit:
                return self._limit.message
            case "hand_back":
                return "this worker is shutting down"
            case "taken_away":
                return "the run was ended, or claimed by another worker"
            case _:
                return "no reason given"

    async def _settle(self, ended: Ended) -> "State | None":
        """Write the run's final state if the engine did not; return a state whose hooks have not run."""
        match self._why:
            case None:
                return None if ended.state in _FINAL | _LEFT else await self._lost(ended)
            case "taken_away":
                return None
            case "hand_back":
                if ended.state not in _FINAL:
                    await self._settler.give_back(
                        self._run.id, "Its worker was shut down; the run is queued again."
                    )
                return None
            case "cancel":
                state = await self._settler.cancelled(self._run.id, "Stopped on request.")
            case "time" | "deadline":
                message = self._limit.message if self._limit else "The time limit was exceeded."
                word = _WORDS[self._why]
                state = await self._settler.cancelled(self._run.id, message, word)
        return _cancelling_of(state)

    async def _lost(self, ended: Ended) -> "State | None":
        """
        Handle a process that ended, or an engine that gave up, without a final state on the server.

        A run that cannot be started ends Failed at once: another attempt would fail the same way.
        """
        run = await self._settler.read(self._run.id)
        if run is None or run.state_type not in _CLAIMED:
            return None  # the run was deleted, or the engine wrote a state after all
        if ended.fault is not None and run.state_type != StateType.CANCELLING:
            self._log.error("The run could not be started: %s", ended.fault)
            await self._settler.failed(run.id, ended.fault)
            return None
        told = _story(ended)
        self._log.error("The run's process ended early: %s.", told)
        if run.state_type != StateType.CANCELLING and await self._has_crashed_too_often(ended):
            return await self._settler.crashed(run.id, f"The run's process ended early: {told}.")
        state = await self._settler.lost(run, told, self._max_starts)
        if state is None or state.is_scheduled():
            return None
        return _cancelling_of(state) if state.is_cancelled() else state

    async def _has_crashed_too_often(self, ended: Ended) -> bool:
        if ended.killed_for is None and ended.code not in _OWN_FAULT:
            return False  # killed from outside, or disconnected from the server: not counted as a crash
        return await self._settler.count_crash(self._run.id) > self._configuration.crash_retries


def _story(ended: Ended) -> str:
    if ended.killed_for:
        return ended.killed_for
    if ended.code < 0:
        return f"it was killed by {_NAMES.get(ended.code, f'signal {-ended.code}')}"
    return f"it exited with status {ended.code}"


def _cancelling_of(state: "State | None") -> "State | None":
    """Return the Cancelled state, which a flow's on_cancellation hooks expect, with the same message."""
    from prefect.states import Cancelling

    return Cancelling(message=state.message) if state is not None else None
