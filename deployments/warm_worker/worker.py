"""The worker type `warm-process`: executes runs in long-lived child processes with loaded models."""

import asyncio
import contextlib
from collections.abc import Iterator
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
from prefect.server.concurrency.lease_storage import get_concurrency_lease_storage
from prefect.workers.base import BaseWorker

from deployments.warm_worker import metrics
from deployments.warm_worker.child.devices import child_environments, device_share
from deployments.warm_worker.child.preload import preload_modules
from deployments.warm_worker.child.protocol import StopReason
from deployments.warm_worker.child.slot import Slot
from deployments.warm_worker.child.temp_dirs import TempFolders
from deployments.warm_worker.job_configuration import WarmJobConfiguration, WarmResult, WarmVariables
from deployments.warm_worker.poller import RunPoller
from deployments.warm_worker.prefect_internals import emit_heartbeat
from deployments.warm_worker.queue.claim import claim_run, this_worker
from deployments.warm_worker.queue.placement import wait_for_slot
from deployments.warm_worker.queue.run_queue import RunQueue
from deployments.warm_worker.queue.stray_leases import StrayLeases
from deployments.warm_worker.queue.tenant_limits import TenantLimits
from deployments.warm_worker.run.attempt import Attempt
from deployments.warm_worker.run.attempt_span import attempt_span
from deployments.warm_worker.run.claimed_run import ClaimedRun
from deployments.warm_worker.run.reaper import Reaper
from deployments.warm_worker.run.server_watch import ServerWatch
from deployments.warm_worker.run.shutdown import GracefulShutdown
from deployments.warm_worker.run.waiting_runs import announce_waiting_runs_forever
from deployments.warm_worker.run.webhook_runs import WebhookRuns, Worker
from deployments.warm_worker.run_metrics import run_metrics, type_label
from deployments.warm_worker.run_states import RunStateWriter
from deployments.warm_worker.usage_book import RunningAttempt, UsageBook
from deployments.work_pools import WORKER_TYPE
from tasks.cache.leftovers import remove_abandoned_folders
from tasks.run.prefect_settings import settings_without_client_retries
from tasks.run.retry import is_outage, retry_while_unavailable_async
from tasks.settings import get_settings
from tasks.tracing.hooks import trace_process

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from tasks.run.usage import RunUsage

RUN_HEARTBEAT_S = 15.0
_LAST_WRITE_S = 10.0
"""Time that an ending worker waits for the store to take what its runs have used."""
CHILDREN_EVENT = "musetalk.worker.children"
"""Event emitted with every heartbeat of a worker: state, memory and models of its children."""


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
        self._worker_settings = get_settings().worker
        self.slots: list[Slot] = []
        self._claimed_runs: dict[UUID, ClaimedRun] = {}
        self._poll_lock = asyncio.Lock()
        self._temp_folders = TempFolders()
        self._cancel_scope: anyio.CancelScope | None = None
        self._graceful_shutdown = GracefulShutdown(
            self._worker_settings.drain_s,
            list_running=lambda: list(self._claimed_runs),
            requeue=lambda run_id: self._stop_run(run_id, "hand_back"),
            stop_worker=self._stop_worker,
            log=self._logger.info,
        )
        self._poller = RunPoller(
            self.slots, self._claimed_runs, is_draining=lambda: self._graceful_shutdown.has_begun
        )
        self._usage = UsageBook(self._list_running, self._logger.warning)
        self._tenant_limits: TenantLimits | None = None
        self._webhook_runs: WebhookRuns | None = None
        self._is_watching = False

    async def start(self, *args: Any, **kwargs: Any) -> None:
        """Execute runs until stopped; returns after draining. For the arguments see Prefect's BaseWorker."""
        # requests are retried here, with shorter delays than the client's of two seconds and more
        with settings_without_client_retries(), anyio.CancelScope() as self._cancel_scope:
            await super().start(*args, **kwargs)

    async def setup(self) -> None:
        """Start the child processes and connect to the server."""
        self._graceful_shutdown.install_signal_handlers()
        trace_process("musetalk-worker")
        self._temp_folders.open()
        environments = child_environments(self._worker_settings, self._limit)
        for number, environment in enumerate(environments):
            slot = Slot(
                number,
                environment,
                preload_modules(self._work_pool_name, self._worker_settings),
                self._worker_settings,
                on_free=self._poller.request_poll,
                log=self._logger.info,
                limits=get_settings().start,
            )
            slot.device_share = device_share(environment, environments)
            slot.open()
            self.slots.append(slot)
        self._limit = len(self.slots)
        metrics.register_worker(self)
        await super().setup()
        self._task_group().start_soon(self._graceful_shutdown.run)
        self._task_group().start_soon(self._usage.write_forever)

    async def teardown(self, *exc_info: Any) -> None:
        """Stop the child processes and disconnect; another worker's reaper requeues unfinished runs."""
        try:
            self._task_group().cancel_scope.cancel()
            await super().teardown(*exc_info)
        finally:
            with anyio.CancelScope(shield=True):
                self._usage.end_running()
                with anyio.move_on_after(_LAST_WRITE_S):
                    await asyncio.to_thread(self._usage.write)
                await asyncio.gather(*(slot.close() for slot in self.slots))
                if self._webhook_runs is not None:
                    self._webhook_runs.close()
            self._temp_folders.close()
            metrics.unregister_worker(self)

    def _task_group(self) -> anyio.abc.TaskGroup:
        if self._runs_task_group is None:
            raise RuntimeError("the worker is not set up")
        return self._runs_task_group

    def _stop_worker(self) -> None:
        if self._cancel_scope is not None:
            self._cancel_scope.cancel()

    async def sync_with_backend(self) -> None:
        """Send a heartbeat, and start the services after the first one; later outages are only logged."""
        try:
            await super().sync_with_backend()
        except (httpx.HTTPError, OSError) as error:
            if not is_outage(error) or not self.is_setup:
                raise
            self._logger.warning("The Prefect server cannot be reached: %s", error or type(error).__name__)
            return
        self._emit_children_event()
        if not self._is_watching and self._work_pool is not None and self._has_successfully_synced:
            self._is_watching = True
            self._start_services(self._work_pool.id)

    def _start_services(self, pool_id: UUID) -> None:
        """Start what the worker does beside runs; may be called while `setup` has not returned."""
        self._tenant_limits = TenantLimits(self.client)
        run_queue = RunQueue(self.client, self._work_pool_name, tuple(sorted(self._work_queues)))
        if WebhookRuns.are_served_by(self._work_pool_name):
            self._webhook_runs = self._make_webhook_runs()
        self._poller.connect(run_queue, self._tenant_limits, self._webhook_runs)
        watch = ServerWatch(
            self.client,
            pool_id,
            this_worker(self.name),
            in_flight=lambda: list(self._claimed_runs),
            on_queued=self._poller.on_run_queued,
            on_stop=self._stop_run,
        )
        reaper = Reaper(
            self.client,
            self._work_pool_name,
            self.name,
            self._worker_settings.max_starts,
            is_own=self._is_own,
            log=self._logger.info,
        )
        group = self._task_group()
        for service in (
            watch.listen_for_events,
            watch.poll_states,
            reaper.run_forever,
            self._send_heartbeats,
            self._tenant_limits.renew_leases,
            StrayLeases(self.client, get_concurrency_lease_storage, self._logger.info).run_forever,
            partial(announce_waiting_runs_forever, self.client, self._work_pool_name, emit_event),
            partial(self._poller.poll_when_woken, self.get_and_submit_flow_runs, watch),
        ):
            group.start_soon(service)

    def _make_webhook_runs(self) -> WebhookRuns:
        return WebhookRuns(
            Worker(
                self.client,
                self.name,
                self.type,
                self._work_pool_name,
                self._worker_settings.max_starts,
                self._claimed_runs,
                start=self._task_group().start_soon,
                log_of=self.get_flow_run_logger,
                observe_start=partial(run_metrics().observe_start, self._work_pool_name),
                observe_end=self._record_usage,
                on_place=self._poller.request_poll,
            )
        )

    def _is_own(self, run: "FlowRun") -> bool:
        """Return whether this worker executes a run."""
        if run.id in self._claimed_runs:
            return True
        return self._webhook_runs is not None and self._webhook_runs.is_creating(run)

    async def _send_heartbeats(self) -> None:
        while True:
            for claimed in list(self._claimed_runs.values()):
                emit_heartbeat(claimed.run)
            await anyio.sleep(RUN_HEARTBEAT_S)

    async def get_and_submit_flow_runs(self) -> "list[FlowRun]":
        """
        Claim as many runs as there are free children.

        Returns:
            The claimed runs; empty if the server is unavailable.
        """
        async with self._poll_lock:
            self._last_polled_time = datetime.now(UTC)  # read by Prefect's health check
            try:
                if not self._has_successfully_synced:
                    return []
                return await self._poller.claim_available(self._start_run)
            except ObjectNotFound:  # the work pool does not exist yet; the next heartbeat creates it
                return []
            except (httpx.HTTPError, OSError) as error:
                if not is_outage(error):
                    raise
                return []

    def _start_run(self, run: "FlowRun") -> None:
        execute = self._run_to_completion
        if self._webhook_runs is not None and not self._claimed_runs[run.id].needs_child:
            execute = self._webhook_runs.execute
        self._task_group().start_soon(execute, run)

    async def _run_to_completion(self, run: "FlowRun") -> None:
        """Claim a run, execute it, and make sure that its final state is on the server."""
        log = self.get_flow_run_logger(run)
        try:
            lease = self._tenant_limits.lease_of(run.id) if self._tenant_limits else None
            if not await claim_run(self.client, run.id, self.name, self.type, lease):
                return
            configuration = await self._resolve_configuration(run)
            if configuration is None:
                return
            submitted_event = self._emit_flow_run_submitted_event(configuration)
            result = await self.run(run, configuration)
            if submitted_event:
                self._emit_flow_run_executed_event(result, configuration, submitted_event)
        except Exception as error:
            log.exception("The worker could not execute this run.")
            with contextlib.suppress(Exception):
                await RunStateWriter(self.client, this_worker(self.name)).set_crashed(
                    run.id, f"The worker could not execute it: {type(error).__name__}: {error}"
                )
        finally:
            self._claimed_runs.pop(run.id, None)
            if self._tenant_limits:
                with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                    await self._tenant_limits.release(run.id)
            self._poller.request_poll()

    async def _resolve_configuration(self, run: "FlowRun") -> WarmJobConfiguration | None:
        """Return the job configuration of a run; None if that failed, and the run was failed or requeued."""
        try:
            return await retry_while_unavailable_async(partial(self._request_configuration, run), 120)
        except Exception as error:
            self.get_flow_run_logger(run).exception("The worker could not prepare this run.")
            await RunStateWriter(self.client, this_worker(self.name)).handle_preparation_error(
                run.id, error, self._worker_settings.max_starts
            )
            return None

    async def _request_configuration(self, run: "FlowRun") -> WarmJobConfiguration:
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
        claimed = self._claimed_runs.setdefault(flow_run.id, ClaimedRun(flow_run))
        attempt = claimed.attempt = Attempt(
            flow_run,
            configuration,
            RunStateWriter(self.client, this_worker(self.name)),
            self._worker_settings.max_starts,
            self.get_flow_run_logger(flow_run),
        )
        if claimed.stop_reason:
            attempt.stop(claimed.stop_reason)
        slot = await wait_for_slot(self.slots, flow_run, attempt, self._worker_settings.placement_wait_s)
        if slot is None:
            await attempt.finish_unplaced()
            return WarmResult(status_code=0, identifier="none")
        if task_status is not None:
            task_status.started(slot.pid)
        run_metrics().observe_start(self._work_pool_name, flow_run)
        with (
            attempt_span(flow_run, self._work_pool_name, slot) as traced,
            self._temp_folders.run_folder(str(flow_run.id)) as folder,
        ):
            state_without_hooks = await attempt.execute(slot, folder, traced.parent_of_others)
            traced.set({"attempt.result": attempt.result, "flow": type_label(slot.totals.flow)})
        self._record_end(flow_run, slot, attempt, slot.totals.running_s)
        if slot.state != "idle":  # its child was killed and may have left incomplete cache entries
            await asyncio.to_thread(remove_abandoned_folders, get_settings().cache_folder)
        if state_without_hooks is not None:
            running_slots = [slot for slot in self.slots if slot.state in ("idle", "busy")]
            (running_slots or self.slots)[0].request_hooks(
                str(flow_run.id), state_without_hooks.model_dump(mode="json")
            )
        return WarmResult(status_code=0, identifier=str(slot.pid or slot.number))

    def _record_end(self, run: "FlowRun", slot: Slot, attempt: Attempt, seconds: float) -> None:
        if attempt.result is not None:
            self._record_usage(run, slot.totals.flow, attempt.result, slot.totals.usage, seconds)

    def _record_usage(
        self, run: "FlowRun", flow: str, result: str, usage: "RunUsage", seconds: float
    ) -> None:
        run_metrics().observe_end(self._work_pool_name, flow, result, seconds, usage)
        self._usage.add(run, flow, usage, result, seconds)

    def _list_running(self) -> Iterator[RunningAttempt]:
        for slot in self.slots:
            claimed = self._claimed_runs.get(UUID(slot.run_id)) if slot.run_id else None
            if slot.state == "busy" and claimed is not None:
                yield claimed.run, slot.totals.flow, slot.totals.usage, slot.totals.running_s

    def _stop_run(self, run_id: UUID, reason: StopReason) -> None:
        claimed = self._claimed_runs.get(run_id)
        if claimed is None:
            return
        claimed.stop(reason)

    async def _worker_metadata(self) -> WorkerMetadata | None:
        """Return the worker's metadata with its children; only Prefect Cloud stores it."""
        metadata = await super()._worker_metadata()
        children = [metrics.describe_child(slot) for slot in self.slots]
        return WorkerMetadata(
            integrations=metadata.integrations if metadata else [],
            children=children,  # pyright: ignore[reportCallIssue]  Prefect allows more
            draining=self._graceful_shutdown.has_begun,  # pyright: ignore[reportCallIssue]
        )

    def _emit_children_event(self) -> None:
        """Emit the children's state as an event; a self-hosted server stores it and shows it in its feed."""
        emit_event(
            CHILDREN_EVENT,
            resource=self._event_resource(),
            payload={"children": [metrics.describe_child(slot) for slot in self.slots]},
        )
