"""The worker type `warm-process`: executes runs in long-lived child processes with loaded models."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.schemas.objects import WorkerMetadata
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.types._datetime import now
from prefect.workers.base import BaseWorker

from deployments.pools import WORKER_TYPE
from deployments.warm import metrics
from deployments.warm.attempt import Attempt
from deployments.warm.cards import children_of
from deployments.warm.claiming import claim
from deployments.warm.leaving import Leaving
from deployments.warm.limits import is_expired
from deployments.warm.placing import best, is_worth_a_wait, score, warm_names
from deployments.warm.preload import modules_of
from deployments.warm.protocol import Why
from deployments.warm.reaper import Reaper
from deployments.warm.scratch import Scratch
from deployments.warm.seams import heartbeat
from deployments.warm.settle import Settler, is_outage, patiently
from deployments.warm.slot import Slot
from deployments.warm.template import WarmJobConfiguration, WarmResult, WarmVariables
from deployments.warm.tenants import TenantLimits
from deployments.warm.waiting import Waiting, tenant_of
from deployments.warm.watch import Watch
from flows.control import ABORTED, EXPIRED
from tasks.drafts import sweep_drafts
from tasks.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

HEARTBEAT_S = 15.0
CHILDREN_EVENT = "musetalk.worker.children"
"""Event emitted with every heartbeat of a worker: state, memory and models of its children."""
_LOOK_WITHOUT_EVENTS_S = 1.0
"""Poll interval while the event stream is down."""
_LOOK_AT_LEAST_S = 15.0
"""Longest poll interval: the server's scheduler creates runs without an event."""
_LOOK_AT_LATE_S = 1.0
"""Poll interval while a due run is held back by a limit of its tenant, queue or pool."""


@dataclass(slots=True)
class _Taken:
    """A run that this worker has claimed."""

    run: "FlowRun"
    attempt: Attempt | None = None
    stop: Why | None = None


class WarmWorker(BaseWorker[WarmJobConfiguration, WarmVariables, WarmResult]):
    """A Prefect worker that claims runs while a child process is free, and executes them to a final state."""

    type: ClassVar[str] = WORKER_TYPE  # pyright: ignore[reportIncompatibleVariableOverride]
    job_configuration = WarmJobConfiguration
    job_configuration_variables = WarmVariables
    _description = "Executes flows in long-lived processes that keep imports and models loaded, one per GPU."
    _display_name = "Warm process"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """
        Create the worker; `start` starts its children.

        Args:
            args:   arguments of Prefect's BaseWorker.
            kwargs: keyword arguments of BaseWorker; `limit` is the maximum number of children.
        """
        super().__init__(*args, **kwargs)
        self._rules = get_settings().worker
        self.slots: list[Slot] = []
        self._taken: dict[UUID, _Taken] = {}
        self._wake = asyncio.Event()
        self._polling = asyncio.Lock()
        self._scratch = Scratch()
        self._scope: anyio.CancelScope | None = None
        self._leaving = Leaving(
            self._rules.drain_s,
            running=lambda: list(self._taken),
            hand_back=lambda run_id: self._stop(run_id, "hand_back"),
            leave=self._leave,
            say=self._logger.info,
        )
        self._waiting: Waiting | None = None
        self._tenants: TenantLimits | None = None
        self._watch: Watch | None = None
        self._watching = False

    async def start(self, *args: Any, **kwargs: Any) -> None:
        """Execute runs until stopped; returns after draining. For the arguments see Prefect's BaseWorker."""
        # requests are retried here, with shorter delays than the client's of two seconds and more
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), anyio.CancelScope() as self._scope:
            await super().start(*args, **kwargs)

    async def setup(self) -> None:
        """Start the child processes and connect to the server."""
        self._leaving.listen()
        self._scratch.open()
        for number, environment in enumerate(children_of(self._rules, self._limit)):
            slot = Slot(
                number,
                environment,
                modules_of(self._work_pool_name, self._rules),
                self._rules,
                on_free=self._wake.set,
                say=self._logger.info,
                limits=get_settings().start,
            )
            slot.open()
            self.slots.append(slot)
        self._limit = len(self.slots)
        metrics.register(self)
        await super().setup()
        self._task_group().start_soon(self._leaving.see_off)
        self._tenants = TenantLimits(self.client)
        self._waiting = Waiting(self.client, self._work_pool_name, tuple(sorted(self._work_queues)))

    async def teardown(self, *exc_info: Any) -> None:
        """Stop the child processes and disconnect; another worker's reaper requeues unfinished runs."""
        try:
            self._task_group().cancel_scope.cancel()
            await super().teardown(*exc_info)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.gather(*(slot.close() for slot in self.slots))
            self._scratch.close()
            metrics.unregister(self)

    def _task_group(self) -> anyio.abc.TaskGroup:
        if self._runs_task_group is None:
            raise RuntimeError("the worker is not set up")
        return self._runs_task_group

    def _leave(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def sync_with_backend(self) -> None:
        """Send a heartbeat, and start the services after the first one; later outages are only logged."""
        try:
            await super().sync_with_backend()
        except (httpx.HTTPError, OSError) as error:
            if not is_outage(error) or not self.is_setup:
                raise
            self._logger.warning("The Prefect server cannot be reached: %s", error or type(error).__name__)
            return
        self._show_children()
        if not self._watching and self._work_pool is not None and self._has_successfully_synced:
            self._watching = True
            self._start_watching(self._work_pool.id)

    def _start_watching(self, pool_id: UUID) -> None:
        watch = self._watch = Watch(
            self.client, pool_id, lambda: list(self._taken), self._heard_of, self._stop
        )
        reaper = Reaper(
            self.client,
            self._work_pool_name,
            self.name,
            self._rules.max_starts,
            mine=lambda: self._taken,
            say=self._logger.info,
        )
        group = self._task_group()
        for service in (watch.listen, watch.ask, reaper.watch, self._send_heartbeats, self._poll_when_woken):
            group.start_soon(service)
        if self._tenants is not None:
            group.start_soon(self._tenants.keep)

    def _heard_of(self, tags: list[str]) -> None:
        if self._waiting is not None:
            self._waiting.met(tags)
        self._wake.set()

    async def _poll_when_woken(self) -> None:
        """
        Poll for runs as soon as a child is free or a run is due.

        Events announce runs that are due now; for later runs, the due time is read from the server.
        """
        while True:
            with anyio.move_on_after(await self._seconds_to_next_poll()):
                await self._wake.wait()
            self._wake.clear()
            await self.get_and_submit_flow_runs()

    async def _seconds_to_next_poll(self) -> float:
        """Return the seconds until the next poll; an event triggers it earlier."""
        if self._watch is None or not self._watch.is_listening:
            return _LOOK_WITHOUT_EVENTS_S
        if self._waiting is None or self._free_children() <= 0:
            return _LOOK_AT_LEAST_S
        try:
            due = await self._waiting.next_due()
        except (httpx.HTTPError, OSError):
            return _LOOK_WITHOUT_EVENTS_S
        if due is None:
            return _LOOK_AT_LEAST_S
        left = (due - datetime.now(UTC)).total_seconds()
        return min(left, _LOOK_AT_LEAST_S) if left > 0 else _LOOK_AT_LATE_S

    async def _send_heartbeats(self) -> None:
        while True:
            for taken in list(self._taken.values()):
                heartbeat(taken.run)
            await anyio.sleep(HEARTBEAT_S)

    async def get_and_submit_flow_runs(self) -> "list[FlowRun]":
        """
        Claim as many runs as there are free children.

        Returns:
            The claimed runs; empty if the server is unavailable.
        """
        async with self._polling:
            self._last_polled_time = now("UTC")  # read by Prefect's health check
            try:
                return await self._take_some()
            except ObjectNotFound:  # the work pool does not exist yet; the next heartbeat creates it
                return []
            except (httpx.HTTPError, OSError) as error:
                if not is_outage(error):
                    raise
                return []

    async def _take_some(self) -> "list[FlowRun]":
        chosen: list[FlowRun] = []
        free = self._free_children()
        if free <= 0 or not self._has_successfully_synced or self._waiting is None:
            return chosen
        waiting = await self._waiting.look()
        running = Counter(tenant_of(taken.run.tags) for taken in self._taken.values())
        for run in self._waiting.in_order(waiting, running):
            if len(chosen) >= free or self._leaving.has_begun:
                break
            if run.id in self._taken:
                continue
            if is_expired(run):
                await Settler(self.client).cancelled(run.id, EXPIRED, ABORTED)
                continue
            if self._tenants and not await self._tenants.admit(run.id, tenant_of(run.tags)):
                continue
            self._taken[run.id] = _Taken(run)
            self._waiting.served(tenant_of(run.tags))
            chosen.append(run)
            self._task_group().start_soon(self._see_through, run)
        return chosen

    def _free_children(self) -> int:
        """Return the number of idle children minus the claimed runs that have no child yet."""
        if self._leaving.has_begun:
            return 0
        placed = sum(1 for taken in self._taken.values() if taken.attempt and taken.attempt.placed)
        return sum(1 for slot in self.slots if slot.is_free) - (len(self._taken) - placed)

    async def _see_through(self, run: "FlowRun") -> None:
        """Claim a run, execute it, and make sure that its final state is on the server."""
        log = self.get_flow_run_logger(run)
        try:
            if not await claim(self.client, run.id, self.name, self.type):
                return
            configuration = await self._prepared(run)
            if configuration is None:
                return
            submitted = self._emit_flow_run_submitted_event(configuration)
            result = await self.run(run, configuration)
            if submitted:
                self._emit_flow_run_executed_event(result, configuration, submitted)
        except Exception as error:
            log.exception("The worker could not execute this run.")
            with contextlib.suppress(Exception):
                await Settler(self.client).crashed(
                    run.id, f"The worker could not execute it: {type(error).__name__}: {error}"
                )
        finally:
            self._taken.pop(run.id, None)
            if self._tenants:
                with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                    await self._tenants.release(run.id)
            self._wake.set()

    async def _prepared(self, run: "FlowRun") -> WarmJobConfiguration | None:
        """Return the job configuration of a run; None if that failed, and the run was failed or requeued."""
        try:
            return await patiently(partial(self._configure, run), 120)
        except Exception as error:
            self.get_flow_run_logger(run).exception("The worker could not prepare this run.")
            await Settler(self.client).not_prepared(run.id, error, self._rules.max_starts)
            return None

    async def _configure(self, run: "FlowRun") -> WarmJobConfiguration:
        return await self.job_configuration.resolve_for_flow_run(
            run,
            client=self.client,
            work_pool=self.work_pool.model_copy(deep=True),
            worker_name=self.name,
            worker_id=self.backend_id,
        )

    async def run(
        self,
        flow_run: "FlowRun",
        configuration: WarmJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> WarmResult:
        """
        Execute a claimed run in a child.

        Args:
            flow_run:      the run, in state Pending.
            configuration: resolved job configuration.
            task_status:   receives the child's process id once the run has a slot.

        Returns:
            Always status 0, since the final state of the run is on the server.
        """
        taken = self._taken.setdefault(flow_run.id, _Taken(flow_run))
        attempt = taken.attempt = Attempt(
            flow_run,
            configuration,
            Settler(self.client),
            self._rules.max_starts,
            self.get_flow_run_logger(flow_run),
        )
        if taken.stop:
            attempt.stop(taken.stop)
        slot = await self._place(flow_run, attempt)
        if slot is None:
            await attempt.give_up()
            return WarmResult(status_code=0, identifier="none")
        if task_status is not None:
            task_status.started(slot.pid)
        with self._scratch.folder(str(flow_run.id)) as folder:
            unhooked = await attempt.execute(slot, folder)
        if slot.state != "idle":  # its child was killed and may have left incomplete cache entries
            await asyncio.to_thread(sweep_drafts, get_settings().cache_folder)
        if unhooked is not None:
            ready = [slot for slot in self.slots if slot.state in ("idle", "busy")]
            (ready or self.slots)[0].hooks(str(flow_run.id), unhooked.model_dump(mode="json"))
        return WarmResult(status_code=0, identifier=str(slot.pid or slot.number))

    async def _place(self, run: "FlowRun", attempt: Attempt) -> Slot | None:
        """Wait up to `placement_wait_s` for the best slot, else take a free one; None if it was stopped."""
        names = warm_names(run)
        patience = self._rules.placement_wait_s if is_worth_a_wait(run) else 0.0
        waited = anyio.current_time() + patience
        while not attempt.is_stopped:
            free = [slot for slot in self.slots if slot.is_free]
            busy = [slot for slot in self.slots if slot.state == "busy"]
            if free:
                here = best(free, run, names)
                suited = best([*free, *busy], run, names)
                better = score(suited, run, names) > score(here, run, names)
                if not better or anyio.current_time() >= waited:
                    attempt.placed = True
                    return here
            await anyio.sleep(0.02)
        return None

    def _stop(self, run_id: UUID, why: Why) -> None:
        taken = self._taken.get(run_id)
        if taken is None:
            return
        taken.stop = taken.stop or why
        if taken.attempt is not None:
            taken.attempt.stop(why)

    async def _worker_metadata(self) -> WorkerMetadata | None:
        """Return the worker's metadata with its children; only Prefect Cloud stores it."""
        known = await super()._worker_metadata()
        children = [metrics.describe(slot) for slot in self.slots]
        return WorkerMetadata(
            integrations=known.integrations if known else [],
            children=children,  # pyright: ignore[reportCallIssue]  Prefect allows more
            draining=self._leaving.has_begun,  # pyright: ignore[reportCallIssue]
        )

    def _show_children(self) -> None:
        """Emit the children's state as an event; a self-hosted server stores it and shows it in its feed."""
        emit_event(
            CHILDREN_EVENT,
            resource=self._event_resource(),
            payload={"children": [metrics.describe(slot) for slot in self.slots]},
        )
