"""
Worker slot of a waiting parent run, which gives it up while other runs are queued, by rescheduling itself.

The work pool of parent runs has few slots. While no other run is queued, a parent waits in its slot for the
events of its child jobs. If another run is queued, the parent sets itself to a scheduled state and is started
again later. Its whole state is on the server, so nothing is lost.
"""

import time
from collections.abc import Sequence
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
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Abort
from prefect.states import Scheduled

from flows.orchestration.child_events import ChildEvents
from flows.prefect_state.labels import WAITING_STATE, YIELD_COUNT
from flows.schemas.control import read_control
from tasks.errors import DeadlineExceeded
from tasks.run.cancellation import raise_if_cancelled
from tasks.run.prefect_settings import settings_without_client_retries
from tasks.run.retry import retry_while_unavailable

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POLL_INTERVAL_S: Final = 1.0
"""Interval in seconds between two reads of this run, its pool and all child jobs, without events."""
CHECK_INTERVAL_S: Final = 2.0
"""Interval in seconds between two reads of this run and its pool while events arrive."""
FULL_POLL_INTERVAL_S: Final = 10.0
"""Interval in seconds between two reads of all child jobs while events arrive; an event may be lost."""
CONTENTION_AFTER_S: Final = 1.5
"""Seconds after which a queued run counts as waiting for a slot."""
_COLLECT_S: Final = 0.2
"""Seconds for which further events are collected after one: many short child jobs cost few requests."""
_STOP_CHECK_INTERVAL_S: Final = 0.1
"""Interval between two checks for a stop request in seconds."""
_MIN_YIELD_S, _MAX_YIELD_S = 2.0, 15.0
"""Minimum and maximum delay of a rescheduled run in seconds."""


class PoolSlot:
    """The worker slot that a waiting parent run currently holds."""

    def __init__(self, client: "SyncPrefectClient", run: FlowRun, events: ChildEvents) -> None:
        """
        Remember the run and the time at which it started to wait.

        Args:
            client: client of the Prefect server.
            run:    the waiting run, which is the current flow run.
            events: events of its child jobs.
        """
        self._client, self._run, self._events = client, run, events
        self._started = self._last_check = self._last_full_poll = time.monotonic()
        self._announced: set[UUID] = set()

    def wait_or_yield(self) -> Sequence[UUID] | None:
        """
        Wait until a child job has ended, or for an interval; give up the slot if another run is queued.

        Returns:
            Ids of the child jobs to read; None: all of them.

        Raises:
            Abort:            this run has been rescheduled, or was ended or paused from outside, or another
                attempt continues it.
            Cancelled:        this run was canceled.
            DeadlineExceeded: this run has exceeded its maximum running time, which includes rescheduled time.
        """
        ended = self._wait_for_events()
        now = time.monotonic()
        if now - self._last_check >= self._check_interval_s():
            self._last_check = now
            self._check_run()
        if (
            None in ended
            or not self._events.is_listening
            or now - self._last_full_poll >= FULL_POLL_INTERVAL_S
        ):
            self._last_full_poll = now
            self._announced.clear()
            return None
        announced = {run for run in ended if run is not None}
        # read twice: an event may arrive before another server shows the state
        due, self._announced = self._announced | announced, announced
        return sorted(due)

    def _check_interval_s(self) -> float:
        return CHECK_INTERVAL_S if self._events.is_listening else POLL_INTERVAL_S

    def _wait_for_events(self) -> set[UUID | None]:
        until = self._last_check + self._check_interval_s()
        while True:
            raise_if_cancelled()
            remaining_s = until - time.monotonic()
            ended = self._events.wait(min(_STOP_CHECK_INTERVAL_S, remaining_s))
            if ended:
                time.sleep(_COLLECT_S)
                return ended | self._events.wait(0)
            if remaining_s <= 0:
                return ended

    def _check_run(self) -> None:
        run = retry_while_unavailable(lambda: self._client.read_flow_run(self._run.id))
        if run.state_type not in (StateType.RUNNING, StateType.CANCELLING):
            raise Abort(f"This run is {run.state_name}.")
        if run.state_type == self._run.state_type and run.state_id != self._run.state_id:
            raise Abort("This run was paused and resumed; another attempt continues it.")
        self._check_running_time(run)
        if run.work_pool_name and self._is_contended(run.work_pool_name, run.id):
            self._reschedule(run)

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
        rescheduled = Scheduled(
            name=WAITING_STATE,
            scheduled_time=datetime.now(UTC) + timedelta(seconds=delay_s),
            message="Waiting for child jobs; the worker slot was given to another run.",
        )
        if retry_while_unavailable(lambda: self._requeue(run, rescheduled)):
            raise Abort("This run has yielded its worker slot and will resume later.")

    def _requeue(self, observed: FlowRun, state: State) -> bool:
        """
        Requeue this run if it is still in the observed state; return whether this attempt has to end.

        The run is read before each try: if the response to the first was lost, another worker may have
        claimed the queued run, and a repeated request would queue it again while it runs. For the same reason
        the client must not repeat the request by itself.
        """
        run = self._client.read_flow_run(observed.id)
        if run.state_id != observed.state_id:
            return run.state_type != StateType.CANCELLING
        count = int(str(observed.labels.get(YIELD_COUNT, 0))) + 1
        self._client.update_flow_run_labels(run.id, {YIELD_COUNT: count})
        with settings_without_client_retries():
            # no force: a run that is being canceled must not be queued again
            response = self._client.set_flow_run_state(run.id, state)
        return response.status == SetStateStatus.ACCEPT
