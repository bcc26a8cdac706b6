"""Watch of the server for a worker: events of queued and cancelled runs, state and owner of its runs."""

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

from deployments.warm_worker.child.protocol import StopReason
from deployments.warm_worker.ownership import RunOwner, owner_of
from flows.prefect_state.attempts import RESCHEDULED_STATE, RETRY_STATE
from flows.prefect_state.labels import WAITING_STATE
from flows.prefect_state.queries import read_any_of_async

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.events import Event

POLL_INTERVAL_S: Final = 1.5
"""Interval between two reads of the states of this worker's runs, without events."""
POLL_INTERVAL_WITH_EVENTS_S: Final = 3.0
"""The same while events arrive: one that is lost delays a cancellation by so long."""
_REASSIGNED_AFTER_S: Final = 10.0
"""Seconds; this worker's child may have ended the run without having reported it yet."""

_QUEUED_EVENTS: Final = tuple(
    f"prefect.flow-run.{name}"
    for name in ("Scheduled", RETRY_STATE, RESCHEDULED_STATE, WAITING_STATE, "Resuming")
)
"""Events of runs that were queued, for now or a later time."""
_EXECUTING: Final = (StateType.PENDING, StateType.RUNNING, StateType.PAUSED)
_CANCELLING_EVENT: Final = "prefect.flow-run.Cancelling"


class ServerWatch:
    """Reports queued runs, cancellations and reassigned runs to a worker."""

    def __init__(
        self,
        client: "PrefectClient",
        pool_id: UUID,
        owner: RunOwner,
        in_flight: Callable[[], Iterable[UUID]],
        on_queued: Callable[[list[str]], None],
        on_stop: Callable[[UUID, StopReason], None],
    ) -> None:
        """
        Configure the watch; `listen_for_events` and `poll_states` start it.

        Args:
            client:    client of the server.
            pool_id:   id of the work pool.
            owner:     this worker, as its claims name it.
            in_flight: returns the ids of the worker's current runs.
            on_queued: called with the tags of a run that was queued.
            on_stop:   called, possibly repeatedly, for a run of the worker that should stop.
        """
        self._client, self._pool_id, self._owner = client, pool_id, owner
        self._in_flight, self._on_queued, self._on_stop = in_flight, on_queued, on_stop
        self._unexpected_since: dict[UUID, float] = {}
        self.is_listening = False
        """Whether the event stream is connected; otherwise the worker has to poll."""

    async def listen_for_events(self) -> None:
        """Process the event stream until cancelled, and reconnect after errors."""
        delay_s = 1.0
        event_filter = EventFilter(
            event=EventNameFilter(name=[*_QUEUED_EVENTS, _CANCELLING_EVENT]),
            any_resource=EventAnyResourceFilter(id=[f"prefect.work-pool.{self._pool_id}"]),
        )
        while True:
            try:
                async with get_events_subscriber(filter=event_filter, reconnection_attempts=0) as events:
                    self.is_listening = True
                    self._on_queued([])  # runs may have been queued before the stream was connected
                    async for event in events:
                        delay_s = 1.0
                        self._on_event(event)
            except Exception:  # noqa: S110  any error of the stream leads to a reconnect
                pass
            finally:
                self.is_listening = False
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, 15.0)

    def _on_event(self, event: "Event") -> None:
        if event.event == _CANCELLING_EVENT:
            run_id = _flow_run_id(event.resource.id)
            if run_id is not None and run_id in set(self._in_flight()):
                self._on_stop(run_id, "cancel")
            return
        self._on_queued(
            [part.id.removeprefix("prefect.tag.") for part in event.related if part.role == "tag"]
        )

    async def poll_states(self) -> None:
        """Poll the worker's runs until cancelled, less often while events arrive."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_WITH_EVENTS_S if self.is_listening else POLL_INTERVAL_S)
            ids = list(self._in_flight())
            if not ids:
                self._unexpected_since.clear()
                continue
            try:
                runs = await read_any_of_async(ids, self._read_runs)
            except (httpx.HTTPError, OSError):
                continue
            found = {run.id: run for run in runs}
            for run_id in ids:
                self._check_run(run_id, found.get(run_id))
            self._unexpected_since = {
                run: since for run, since in self._unexpected_since.items() if run in set(ids)
            }

    async def _read_runs(self, chunk: list[UUID], limit: int, offset: int) -> "list[FlowRun]":
        run_filter = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
        return await self._client.read_flow_runs(flow_run_filter=run_filter, limit=limit, offset=offset)

    def _check_run(self, run_id: UUID, run: "FlowRun | None") -> None:
        state = run.state_type if run else None
        if state == StateType.CANCELLING:
            self._on_stop(run_id, "cancel")
        elif run and state in _EXECUTING and owner_of(run).process in ("", self._owner.process):
            self._unexpected_since.pop(run_id, None)
        else:  # the run was deleted, ended or requeued elsewhere, or another worker has claimed it
            since = self._unexpected_since.setdefault(run_id, time.monotonic())
            if time.monotonic() - since > _REASSIGNED_AFTER_S:
                self._on_stop(run_id, "taken_away")


def _flow_run_id(resource: str) -> UUID | None:
    try:
        return UUID(resource.removeprefix("prefect.flow-run."))
    except ValueError:
        return None
