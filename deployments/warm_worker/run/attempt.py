"""One attempt to execute a run in a child process: time limits, cancellation, and its final state."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from prefect.client.schemas.objects import StateType

from deployments.warm_worker.child.protocol import RunRequest, StopReason
from deployments.warm_worker.child.slot import RunOutcome, Slot
from deployments.warm_worker.job_configuration import WarmJobConfiguration
from deployments.warm_worker.queue.placement import affinity_keys
from deployments.warm_worker.run.time_limits import TimeLimit, first_time_limit, is_expired
from deployments.warm_worker.run_states import CLAIMED_STATE_TYPES, RunStateWriter
from flows.schemas.control import EXPIRED_MESSAGE, REASON_ABORTED, REASON_COMPLETE_IN, REASON_MAX_TIME
from tasks.run.counters import LOST_RUNS, count
from tasks.tracing.traceparent import TraceParent

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

_FINAL_STATE_TYPES: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_RESCHEDULED_STATE_TYPES: Final = frozenset({"SCHEDULED", "PAUSED"})
"""State types with which the engine itself has ended the attempt: suspended, or waiting for a retry."""
_CRASH_EXIT_CODES: Final = frozenset({-4, -6, -7, -8, -11})
"""Exit codes of processes that crashed by themselves: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV."""
_SIGNAL_NAMES: Final = {
    -4: "SIGILL",
    -6: "SIGABRT",
    -7: "SIGBUS",
    -8: "SIGFPE",
    -9: "SIGKILL",
    -11: "SIGSEGV",
    -15: "SIGTERM",
}
AttemptResult = Literal["succeeded", "failed", "canceled", "returned", "lost"]
"""Result of an attempt. returned: the run is queued again, because it waits or its worker shuts down."""
_RESULT_BY_STATE: Final[dict[str, AttemptResult]] = {
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "CRASHED": "failed",
    "CANCELLED": "canceled",
    "CANCELLING": "canceled",
    "SCHEDULED": "returned",
    "PAUSED": "returned",
}
_ENDED_AS_LABELS: Final = {"time": REASON_MAX_TIME, "deadline": REASON_COMPLETE_IN}


class Attempt:
    """One execution of a run. `stop` may be called repeatedly and at any time, also before `execute`."""

    def __init__(
        self,
        run: "FlowRun",
        configuration: WarmJobConfiguration,
        state_writer: RunStateWriter,
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
        self.is_placed = False
        self.result: AttemptResult | None = None
        """How the attempt ended; None before its end, and if it was not executed."""
        self._run, self._configuration, self._state_writer = run, configuration, state_writer
        self._max_starts, self._log = max_starts, log
        self._stop_reason: StopReason | None = None
        self._stop_requested = asyncio.Event()
        self._limit: TimeLimit | None = None

    def stop(self, reason: StopReason) -> None:
        """Request the end of the run; the first reason is kept."""
        if self._stop_reason is None:
            self._stop_reason = reason
            self._stop_requested.set()

    @property
    def is_stop_requested(self) -> bool:
        """Whether `stop` has been called."""
        return self._stop_reason is not None

    async def finish_unplaced(self) -> None:
        """Write the final state of a run that was stopped before it had a slot."""
        await self._ensure_final_state(RunOutcome(None, 0))

    async def execute(
        self, slot: Slot, scratch: Path, traceparent: TraceParent | None = None
    ) -> "State | None":
        """
        Execute the run in a free slot, and make sure that its final state is on the server.

        Args:
            slot:    the free slot.
            scratch: folder for temporary files of the run.
            traceparent: span of the attempt.

        Returns:
            A final state whose hooks still have to run, because the run's process could not; else None.
        """
        if is_expired(self._run):  # the deadline may have passed since the claim
            await self._state_writer.set_cancelled(self._run.id, EXPIRED_MESSAGE, REASON_ABORTED)
            return None
        self._limit = first_time_limit(self._run, self._configuration.max_time)
        environment = {name: value for name, value in self._configuration.env.items() if value is not None}
        request = RunRequest(
            str(self._run.id), environment, str(scratch), slot.device_share, str(traceparent or "")
        )
        stop_watcher = asyncio.create_task(self._stop_when_due(slot))
        try:
            outcome = await slot.execute(request, affinity_keys(self._run))
        finally:
            stop_watcher.cancel()
        self.result = _result_of(outcome, self._stop_reason)
        has_hooks = slot.has_hooks
        state = await self._ensure_final_state(outcome)
        return state if has_hooks else None

    async def _stop_when_due(self, slot: Slot) -> None:
        limit = self._limit
        try:
            async with asyncio.timeout(limit.seconds if limit else None):
                await self._stop_requested.wait()
        except TimeoutError:
            if limit is None:
                return
            self.stop(limit.reason)
            # inform the server first, so that clients do not see the stopped run as failed
            state_update = asyncio.create_task(
                self._state_writer.set_cancelling(self._run.id, limit.message, _ENDED_AS_LABELS[limit.reason])
            )
            await asyncio.wait({state_update}, timeout=1.0)
        self._log.info("Stopping: %s.", self._describe_stop_reason())
        await slot.stop(self._stop_reason or "cancel")

    def _describe_stop_reason(self) -> str:
        match self._stop_reason:
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

    async def _ensure_final_state(self, outcome: RunOutcome) -> "State | None":
        """Write the run's final state if the engine did not; return a state whose hooks have not run."""
        match self._stop_reason:
            case None:
                return (
                    None
                    if outcome.state in _FINAL_STATE_TYPES | _RESCHEDULED_STATE_TYPES
                    else await self._handle_lost_process(outcome)
                )
            case "taken_away":
                return None
            case "hand_back":
                if outcome.state not in _FINAL_STATE_TYPES:
                    await self._state_writer.requeue(
                        self._run.id, "Its worker was shut down; the run is queued again."
                    )
                return None
            case "cancel":
                state = await self._state_writer.set_cancelled(self._run.id, "Stopped on request.")
            case "time" | "deadline":
                message = self._limit.message if self._limit else "The time limit was exceeded."
                ended_as = _ENDED_AS_LABELS[self._stop_reason]
                state = await self._state_writer.set_cancelled(self._run.id, message, ended_as)
        return _as_cancelled(state)

    async def _handle_lost_process(self, outcome: RunOutcome) -> "State | None":
        """
        Handle a process that ended, or an engine that gave up, without a final state on the server.

        A run that cannot be started ends Failed at once: another attempt would fail the same way.
        """
        run = await self._state_writer.read(self._run.id)
        if run is None or run.state_type not in CLAIMED_STATE_TYPES:
            return None  # it was deleted or claimed by another worker, or the engine wrote a state after all
        if outcome.start_error is not None and run.state_type != StateType.CANCELLING:
            self._log.error("The run could not be started: %s", outcome.start_error)
            await self._state_writer.set_failed(run.id, outcome.start_error)
            return None
        count(LOST_RUNS, "worker")
        exit_description = _describe_exit(outcome)
        self._log.error("The run's process ended early: %s.", exit_description)
        if run.state_type != StateType.CANCELLING and await self._has_crashed_too_often(outcome):
            return await self._state_writer.set_crashed(
                run.id, f"The run's process ended early: {exit_description}."
            )
        state = await self._state_writer.requeue_or_crash(run, exit_description, self._max_starts)
        if state is None or state.is_scheduled():
            return None
        return _as_cancelled(state) if state.is_cancelled() else state

    async def _has_crashed_too_often(self, outcome: RunOutcome) -> bool:
        if outcome.kill_reason is None and outcome.exit_code not in _CRASH_EXIT_CODES:
            return False  # killed from outside, or disconnected from the server: not counted as a crash
        return await self._state_writer.count_crash(self._run.id) > self._configuration.crash_retries


def _result_of(outcome: RunOutcome, stop_reason: StopReason | None) -> AttemptResult:
    match stop_reason:
        case "hand_back":
            return "succeeded" if outcome.state == "COMPLETED" else "returned"
        case "cancel" | "time" | "deadline":
            return "canceled"
        case _:
            return _RESULT_BY_STATE.get(outcome.state or "", "lost")


def _describe_exit(outcome: RunOutcome) -> str:
    if outcome.kill_reason:
        return outcome.kill_reason
    if outcome.exit_code < 0:
        return f"it was killed by {_SIGNAL_NAMES.get(outcome.exit_code, f'signal {-outcome.exit_code}')}"
    return f"it exited with status {outcome.exit_code}"


def _as_cancelled(state: "State | None") -> "State | None":
    """Return the Cancelled state, which a flow's on_cancellation hooks expect, with the same message."""
    from prefect.states import Cancelling

    return Cancelling(message=state.message) if state is not None else None
