"""
Worker slot of a waiting parent run, which gives it up while other runs are queued, by rescheduling itself.

The work pool of parent runs has few slots. While no other run is queued, a parent waits in its slot and polls
its child jobs every second. If another run is queued, the parent sets itself to a scheduled state and is
started again later. Its whole state is on the server, so nothing is lost.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Abort
from prefect.states import Scheduled

from flows.prefect_state.labels import WAITING_STATE, YIELD_COUNT
from flows.schemas.control import read_control
from tasks.errors import DeadlineExceeded
from tasks.run.cancellation import raise_if_cancelled
from tasks.run.retry import retry_while_unavailable

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POLL_INTERVAL_S: Final = 1.0
"""Interval between two polls in seconds."""
CONTENTION_AFTER_S: Final = 1.5
"""Seconds after which a queued run counts as waiting for a slot."""
_STOP_CHECK_INTERVAL_S: Final = 0.1
"""Interval between two checks for a stop request in seconds."""
_MIN_YIELD_S, _MAX_YIELD_S = 2.0, 15.0
"""Minimum and maximum delay of a rescheduled run in seconds."""


class PoolSlot:
    """The worker slot that a waiting parent run currently holds."""

    def __init__(self, client: "SyncPrefectClient", run: FlowRun) -> None:
        """
        Remember the run and the time at which it started to wait.

        Args:
            client: client of the Prefect server.
            run:    the waiting run, which is the current flow run.
        """
        self._client, self._run = client, run
        self._started = time.monotonic()

    def wait_or_yield(self) -> FlowRun:
        """
        Wait for one poll interval; give up the slot if another run is queued.

        Returns:
            This run as read from the server after waiting.

        Raises:
            Abort:            this run has been rescheduled, or was ended or paused from outside, or another
                attempt continues it.
            Cancelled:        this run was canceled.
            DeadlineExceeded: this run has exceeded its maximum running time, which includes rescheduled time.
        """
        until = time.monotonic() + POLL_INTERVAL_S
        while time.monotonic() < until:
            raise_if_cancelled()
            time.sleep(_STOP_CHECK_INTERVAL_S)
        run = retry_while_unavailable(lambda: self._client.read_flow_run(self._run.id))
        if run.state_type not in (StateType.RUNNING, StateType.CANCELLING):
            raise Abort(f"This run is {run.state_name}.")
        if run.state_type == self._run.state_type and run.state_id != self._run.state_id:
            raise Abort("This run was paused and resumed; another attempt continues it.")
        self._check_running_time(run)
        if run.work_pool_name and self._is_contended(run.work_pool_name, run.id):
            self._reschedule(run)
        return run

    def _check_running_time(self, run: FlowRun) -> None:
        limit = read_control(run.parameters).max_time
        if limit and run.start_time and datetime.now(UTC) > run.start_time + timedelta(seconds=limit):
            raise DeadlineExceeded(f"Job exceeded maximum runtime of {limit} seconds")

    def _is_contended(self, pool: str, own_id: UUID) -> bool:
        others = retry_while_unavailable(
            lambda: self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                    next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(
                        before_=datetime.now(UTC) - timedelta(seconds=CONTENTION_AFTER_S)  # pyright: ignore[reportArgumentType]
                    ),
                ),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
                limit=2,
            )
        )
        return any(run.id != own_id for run in others)

    def _reschedule(self, run: FlowRun) -> None:
        """Reschedule this run; a run that has waited longer gets a longer delay."""
        waited = time.monotonic() - self._started
        delay_s = min(_MAX_YIELD_S, _MIN_YIELD_S + waited / 20)  # one second more per 20 s of waiting
        count = int(str(run.labels.get(YIELD_COUNT, 0))) + 1
        retry_while_unavailable(lambda: self._client.update_flow_run_labels(run.id, {YIELD_COUNT: count}))
        rescheduled = Scheduled(
            name=WAITING_STATE,
            scheduled_time=datetime.now(UTC) + timedelta(seconds=delay_s),
            message="Waiting for child jobs; the worker slot was given to another run.",
        )
        # no force: a run that is being canceled must not be queued again
        response = retry_while_unavailable(lambda: self._client.set_flow_run_state(run.id, rescheduled))
        if response.status == SetStateStatus.ACCEPT:
            raise Abort("This run has yielded its worker slot and will resume later.")
