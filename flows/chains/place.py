"""
Waiting without being in the way: a run that waits for others leaves its place to whoever needs one.

The pool of such runs has few places. As long as nobody else wants one, a run waits in it and sees at once
what happens; when somebody does, it goes to sleep as a scheduled run of the server's, and starts again later.
Nothing is lost by that: all it knows is on the server.
"""

import time
from datetime import timedelta
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
from prefect.types._datetime import now

from flows.chains.patience import patiently
from flows.control import read_control
from flows.family import WAITING, YIELDS
from tasks.errors import DeadlineExceeded
from tasks.stopping import stop_if_asked

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LOOK_S: Final = 1.0
"""Between two looks at what a run waits for."""
_POLITE_S: Final = 1.5
"""Somebody who waits longer than that has found no free place."""
_SLICE_S: Final = 0.1
_SHORTEST_S, _LONGEST_S = 2.0, 15.0


class Place:
    """The place in its pool that a waiting run has for now."""

    def __init__(self, client: "SyncPrefectClient", run: FlowRun) -> None:
        """
        Describe it.

        Args:
            client: of the server.
            run:    the one that waits: this very flow run.
        """
        self._client, self._run = client, run
        self._began = time.monotonic()

    def rest(self) -> FlowRun:
        """
        Let some time pass.

        Returns:
            This run as the server has it now.

        Raises:
            Abort:            this run has to leave; it goes on later, or has been ended or paused.
            Stopped:          it was asked to stop.
            DeadlineExceeded: it has had its time, the time in which it slept included.
        """
        until = time.monotonic() + LOOK_S
        while time.monotonic() < until:
            stop_if_asked()
            time.sleep(_SLICE_S)
        run = patiently(lambda: self._client.read_flow_run(self._run.id))
        if run.state_type not in (StateType.RUNNING, StateType.CANCELLING):
            raise Abort(f"This run is {run.state_name}.")
        self._check_time(run)
        if run.work_pool_name and self._is_wanted(run.work_pool_name, run.id):
            self._leave(run)
        return run

    def _check_time(self, run: FlowRun) -> None:
        limit = read_control(run.parameters).max_time
        if limit and run.start_time and now("UTC") > run.start_time + timedelta(seconds=limit):
            raise DeadlineExceeded(f"Job exceeded maximum runtime of {limit} seconds")

    def _is_wanted(self, pool: str, own: UUID) -> bool:
        others = patiently(
            lambda: self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                    next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(
                        before_=now("UTC") - timedelta(seconds=_POLITE_S)  # pyright: ignore[reportArgumentType]
                    ),
                ),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
                limit=2,
            )
        )
        return any(run.id != own for run in others)

    def _leave(self, run: FlowRun) -> None:
        """Go to sleep; who has waited long already sleeps longer."""
        waited = time.monotonic() - self._began
        pause = min(_LONGEST_S, _SHORTEST_S + waited / 20)
        count = int(str(run.labels.get(YIELDS, 0))) + 1
        patiently(lambda: self._client.update_flow_run_labels(run.id, {YIELDS: count}))
        asleep = Scheduled(
            name=WAITING,
            scheduled_time=now("UTC") + timedelta(seconds=pause),
            message="Waits for its parts; another run has its place meanwhile.",
        )
        # not by force: what is to stop must not be queued again
        answer = patiently(lambda: self._client.set_flow_run_state(run.id, asleep))
        if answer.status == SetStateStatus.ACCEPT:
            raise Abort("This run has left its place to another and goes on later.")
