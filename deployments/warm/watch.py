"""Watch of the server for a worker: events of queued and cancelled runs, and polling of its runs' states."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter

from deployments.warm.protocol import Why
from flows.attempts import RESCHEDULED, RETRY
from flows.family import WAITING
from flows.prefect_state.queries import read_any_of_async

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.events import Event

ASK_EVERY_S: Final = 1.5
_TAKEN_AWAY_AFTER_S: Final = 10.0
"""Seconds; this worker's child may have ended the run without having reported it yet."""

_WAKING: Final = tuple(
    f"prefect.flow-run.{name}" for name in ("Scheduled", RETRY, RESCHEDULED, WAITING, "Resuming")
)
"""Events of runs that were queued, for now or a later time."""
_CANCELLING: Final = "prefect.flow-run.Cancelling"


class Watch:
    """Reports queued runs, cancellations and reassigned runs to a worker."""

    def __init__(
        self,
        client: "PrefectClient",
        pool_id: UUID,
        in_flight: Callable[[], Iterable[UUID]],
        on_waiting: Callable[[list[str]], None],
        on_stop: Callable[[UUID, Why], None],
    ) -> None:
        """
        Configure the watch; `listen_for_events` and `poll_states` start it.

        Args:
            client:    client of the server.
            pool_id:   id of the work pool.
            in_flight: returns the ids of the worker's current runs.
            on_queued: called with the tags of a run that was queued.
            on_stop:   called, possibly repeatedly, for a run of the worker that should stop.
        """
        self._client, self._pool = client, pool_id
        self._in_flight, self._on_waiting, self._on_stop = in_flight, on_waiting, on_stop
        self._strange_since: dict[UUID, float] = {}
        self.is_listening = False
        """Whether the event stream is connected; otherwise the worker has to poll."""

    async def listen(self) -> None:
        """Process the event stream until cancelled, and reconnect after errors."""
        pause = 1.0
        wanted = EventFilter(
            event=EventNameFilter(name=[*_WAKING, _CANCELLING]),
            any_resource=EventAnyResourceFilter(id=[f"prefect.work-pool.{self._pool}"]),
        )
        while True:
            try:
                async with get_events_subscriber(filter=wanted, reconnection_attempts=0) as events:
                    self.is_listening = True
                    self._on_waiting([])  # runs may have been queued before the stream was connected
                    async for event in events:
                        pause = 1.0
                        self._heard(event)
            except Exception:  # noqa: S110  any error of the stream leads to a reconnect
                pass
            finally:
                self.is_listening = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 15.0)

    def _heard(self, event: "Event") -> None:
        if event.event == _CANCELLING:
            run_id = _flow_run_id(event.resource.id)
            if run_id is not None and run_id in set(self._in_flight()):
                self._on_stop(run_id, "cancel")
            return
        self._on_waiting(
            [part.id.removeprefix("prefect.tag.") for part in event.related if part.role == "tag"]
        )

    async def ask(self) -> None:
        """Poll the states of the worker's runs every POLL_INTERVAL_S, until cancelled."""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            ids = list(self._in_flight())
            if not ids:
                self._strange_since.clear()
                continue
            try:
                runs = await read_any_of_async(ids, self._read)
            except (httpx.HTTPError, OSError):
                continue
            states = {run.id: run.state_type for run in runs}
            for run_id in ids:
                self._judge(run_id, states.get(run_id))
            self._strange_since = {
                run: since for run, since in self._strange_since.items() if run in set(ids)
            }

    async def _read(self, chunk: list[UUID], limit: int, offset: int) -> "list[FlowRun]":
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
        return await self._client.read_flow_runs(flow_run_filter=wanted, limit=limit, offset=offset)

    def _judge(self, run_id: UUID, state: StateType | None) -> None:
        if state == StateType.CANCELLING:
            self._on_stop(run_id, "cancel")
        elif state in (StateType.PENDING, StateType.RUNNING, StateType.PAUSED):
            self._strange_since.pop(run_id, None)
        else:  # the run was deleted, ended or requeued elsewhere
            since = self._strange_since.setdefault(run_id, time.monotonic())
            if time.monotonic() - since > _TAKEN_AWAY_AFTER_S:
                self._on_stop(run_id, "taken_away")


def _flow_run_id(resource: str) -> UUID | None:
    try:
        return UUID(resource.removeprefix("prefect.flow-run."))
    except ValueError:
        return None
