"""
Webhook runs: runs of `announce` and `notify` that a worker executes itself, many at a time.

They wait for the server and for receivers most of the time, so they run in threads of the worker and occupy
no child. Until a run ends, it stays in the state `Pending` of its claim, whose message names the worker. The
worker that executes an announcement creates the first attempt as claimed by itself, and makes it at once.
"""

import asyncio
import time
from collections.abc import Callable, Generator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed

from deployments.warm_worker.ownership import PROCESS_LABEL, WORKER_NAME_LABEL, WORKER_TYPE_LABEL
from deployments.warm_worker.queue.claim import claim_without_child, new_claim, this_worker
from deployments.warm_worker.run.attempt_span import attempt_span
from deployments.warm_worker.run.claimed_run import ClaimedRun
from deployments.warm_worker.run.daemon_threads import DaemonThreads
from deployments.warm_worker.run.webhook_places import WebhookPlaces
from deployments.warm_worker.run_states import RunStateWriter
from flows.registry import INTERNAL_FLOWS
from flows.schemas.control import Event
from flows.schemas.webhook import AnnounceJob, NotifyJob
from flows.webhooks.deliveries import (
    AttemptClaim,
    attempt_tags,
    create_attempt,
    due_events,
    first_attempt_at,
)
from flows.webhooks.delivery import AttemptRun, raise_if_dead, record, send
from tasks.errors import DeliveryFailed
from tasks.run.counters import CPU_SECONDS, OTHER, count
from tasks.run.retry import is_outage, retry_while_unavailable_async
from tasks.run.usage import PhaseUsage, RunUsage
from tasks.tracing.traceparent import TraceParent

if TYPE_CHECKING:
    import logging

    from prefect.client.orchestration import PrefectClient, SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

T = TypeVar("T")

_DEPLOYMENTS_CACHE_S: Final = 60.0
_SURELY_OWNED_S: Final = 10.0
"""Time after a claim in which no other worker takes this one for lost; far below `reaper.LOST_AFTER_S`."""
_FLOWS: Final = ("announce", "notify")
_REQUEST_LIMIT_S: Final = 60.0


class EndObserver(Protocol):
    """Receives the end of each executed run: its result as in `Attempt`, usage, and seconds."""

    def __call__(self, run: "FlowRun", flow: str, result: str, usage: RunUsage, seconds: float) -> None:
        """Observe the end of a run."""
        ...


@dataclass(frozen=True, slots=True)
class Worker:
    """
    The worker of webhook runs, as far as they use it.

    Attributes:
        client:        client of the server.
        name:          its name.
        type:          its type.
        pool_name:     name of its work pool.
        max_starts:    maximum number of attempts of a run.
        claimed_runs:  the worker's current runs by id.
        start:         starts a coroutine function in the worker's task group.
        log_of:        returns the logger of a run.
        observe_start: called when a run starts.
        observe_end:   called when a run has ended.
        on_place:      called when a place is free that a queued run has been refused.
    """

    client: "PrefectClient"
    name: str
    type: str
    pool_name: str
    max_starts: int
    claimed_runs: MutableMapping[UUID, ClaimedRun]
    start: Callable[..., object]
    log_of: "Callable[[FlowRun], logging.Logger | logging.LoggerAdapter[Any]]"
    observe_start: "Callable[[FlowRun], None]"
    observe_end: EndObserver
    on_place: Callable[[], None]


class WebhookRuns:
    """Executes the webhook runs of a worker."""

    def __init__(self, worker: Worker) -> None:
        """
        Prepare the execution; `refresh` has to be called before runs are taken.

        Args:
            worker: the worker.
        """
        self._worker = worker
        self._state_writer = RunStateWriter(worker.client, this_worker(worker.name))
        self._places = WebhookPlaces()
        self._threads = DaemonThreads("webhook")
        self._resources = ExitStack()
        self._sync_client: SyncPrefectClient | None = None
        self._deployments: dict[UUID, str] = {}
        """Flows of the deployments of webhook runs."""
        self._refreshed_at = float("-inf")
        self._flow_names: dict[UUID, str] = {}

    @staticmethod
    def are_served_by(pool: str) -> bool:
        """Return whether webhook runs are queued in a work pool."""
        return pool in {INTERNAL_FLOWS[flow].pool for flow in _FLOWS}

    async def refresh(self) -> None:
        """Read the deployments of webhook runs, at most once a minute. Without them, no runs are taken."""
        if time.monotonic() - self._refreshed_at < _DEPLOYMENTS_CACHE_S:
            return
        found: dict[UUID, str] = {}
        for flow in _FLOWS:
            try:
                deployment = await self._worker.client.read_deployment_by_name(
                    INTERNAL_FLOWS[flow].deployment
                )
            except ObjectNotFound:
                continue
            found[deployment.id] = flow
        self._deployments, self._refreshed_at = found, time.monotonic()

    def takes(self, run: "FlowRun") -> bool:
        """Return whether a queued run is a webhook run."""
        return run.deployment_id in self._deployments

    def take_place(self, run: "FlowRun") -> bool:
        """Take a place for a queued run; False if none is free for its receiver or tenant."""
        return self._places.take(run.id, run.tags)

    def is_creating(self, run: "FlowRun") -> bool:
        """Return whether a run is an attempt that is being created here, with a claim."""
        return run.idempotency_key is not None and run.idempotency_key in self._places

    def close(self) -> None:
        """Close the connection to the server; runs that have not ended are left to other workers."""
        self._resources.close()

    async def execute(self, run: "FlowRun") -> None:
        """Claim a queued run that has a place, execute it, and make sure that it ends or is queued again."""
        claimed = self._worker.claimed_runs[run.id]
        with self._leaving(run):
            message = await claim_without_child(self._worker.client, run.id, self._worker.name)
            if message is not None:
                work = self._announce if self._flow_of(run) == "announce" else self._deliver
                await self._run_to_end(claimed, message, work)

    async def _execute_created(self, claimed: ClaimedRun, message: str, owner: "FlowRun") -> None:
        with self._leaving(claimed.run):
            await self._run_to_end(claimed, message, partial(self._deliver, owner=owner))

    @contextmanager
    def _leaving(self, run: "FlowRun") -> Generator[None]:
        """Release the place of a run after the block. A run whose state could not be written is lost."""
        try:
            yield
        except Exception:
            self._worker.log_of(run).exception("The worker could not end this run.")
        finally:
            self._leave(run)

    def _leave(self, run: "FlowRun") -> None:
        self._worker.claimed_runs.pop(run.id, None)
        self._places.release(run.id)
        if self._places.has_refused:
            self._places.has_refused = False
            self._worker.on_place()

    async def _run_to_end(self, claimed: ClaimedRun, message: str, work: "Callable[..., Any]") -> None:
        """Execute a claimed run until it ends, fails, or is stopped, and write its state."""
        run, started_at = claimed.run, time.monotonic()
        meter = _CpuMeter()
        self._worker.observe_start(run)
        with attempt_span(run, self._worker.pool_name, None) as traced:
            task = asyncio.ensure_future(work(run, meter, traced.parent_of_others))
            stopped = asyncio.ensure_future(claimed.stop_requested.wait())
            try:
                await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopped.cancel()
                if not task.done():
                    task.cancel()  # a request in its thread continues, and nothing follows it
            flow = self._flow_of(run)
            if task.done() and not task.cancelled():
                result = await self._end(run, message, task.exception(), time.monotonic() - started_at)
            else:
                result = await self._end_stopped(claimed)
            traced.set({"attempt.result": result, "flow": flow})
        seconds = time.monotonic() - started_at
        count(CPU_SECONDS, OTHER, amount=meter.cpu_s)
        usage = RunUsage({OTHER: PhaseUsage(meter.cpu_s)})
        self._worker.observe_end(run, flow, result, usage, seconds)

    def _flow_of(self, run: "FlowRun") -> str:
        return self._deployments.get(run.deployment_id, "notify") if run.deployment_id else "notify"

    async def _end(self, run: "FlowRun", message: str, error: BaseException | None, seconds: float) -> str:
        """End a run, or queue it again if the server was unavailable; return its result."""
        log = self._worker.log_of(run)
        end: State
        match error:
            case None:
                end, result = Completed(), "succeeded"
            case DeliveryFailed():
                log.error("%s", error)
                end, result = Failed(message=str(error)), "failed"
            case Exception() if is_outage(error):
                reason = f"the Prefect server was unavailable ({type(error).__name__}: {error})"
                if (found := await self._state_writer.read(run.id)) and _is_claimed(found, message):
                    await self._state_writer.requeue_or_crash(found, reason, self._worker.max_starts)
                return "lost"
            case _:
                log.error("The run failed.", exc_info=error)
                end, result = Failed(message=f"{type(error).__name__}: {error}"), "failed"
        await self._state_writer.end_claimed(run.id, message, end, read_first=seconds > _SURELY_OWNED_S)
        return result

    async def _end_stopped(self, claimed: ClaimedRun) -> str:
        match claimed.stop_reason:
            case "hand_back":
                await self._state_writer.requeue(
                    claimed.run.id, "Its worker was shut down; the run is queued again."
                )
                return "returned"
            case None | "taken_away":
                return "lost"
            case _:
                await self._state_writer.set_cancelled(claimed.run.id, "Stopped on request.")
                return "canceled"

    # the work of the two flows

    async def _announce(self, run: "FlowRun", meter: "_CpuMeter", trace: TraceParent | None) -> None:
        """Do what the flow `announce` does, and make the attempts that this worker has created."""
        job = AnnounceJob.model_validate(run.parameters.get("job"))
        owner = await retry_while_unavailable_async(
            lambda: self._worker.client.read_flow_run(job.run), _REQUEST_LIMIT_S
        )
        for event in due_events(owner):
            await self._announce_event(owner, event, meter)

    async def _announce_event(self, owner: "FlowRun", event: Event, meter: "_CpuMeter") -> None:
        job = NotifyJob(run=owner.id, event=event)
        key, due = job.idempotency_key, first_attempt_at(event)
        deployment = next((id for id, flow in self._deployments.items() if flow == "notify"), None)
        # a failed job may be started again: its attempt is queued for later, and reads the job then
        if event == "failed" or deployment is None or not self._places.take(key, attempt_tags(job, owner)):
            await self._in_thread(meter, create_attempt, self._client(), job, due, owner)
            return
        claim = AttemptClaim(new_claim(self._worker.name), self._labels(), deployment)
        try:
            attempt = await self._in_thread(meter, create_attempt, self._client(), job, due, owner, claim)
            if _is_claimed(attempt, claim.message):
                claimed = ClaimedRun(attempt, needs_child=False)
                self._worker.claimed_runs[attempt.id] = claimed
                self._places.rename(key, attempt.id)
                self._worker.start(self._execute_created, claimed, claim.message, owner)
        finally:
            self._places.release(key)

    def _labels(self) -> dict[str, str]:
        owner = this_worker(self._worker.name)
        return {
            WORKER_NAME_LABEL: owner.worker,
            WORKER_TYPE_LABEL: self._worker.type,
            PROCESS_LABEL: owner.process,
        }

    async def _deliver(
        self,
        run: "FlowRun",
        meter: "_CpuMeter",
        trace: TraceParent | None,
        owner: "FlowRun | None" = None,
    ) -> None:
        """Do what the flow `notify` does."""
        job = NotifyJob.model_validate(run.parameters.get("job"))
        warn = self._worker.log_of(run).warning
        attempt = AttemptRun(run.id, tuple(run.tags), warn, trace, self._flow_names)
        sent = await self._in_thread(meter, send, self._client(), job, attempt, owner)
        await self._in_thread(meter, record, self._client(), job, attempt, sent)
        raise_if_dead(job, sent.result)

    async def _in_thread(self, meter: "_CpuMeter", function: Callable[..., T], *args: Any) -> T:
        # not asyncio.to_thread: without the worker's context the client retries by itself, as in a flow
        return await asyncio.get_running_loop().run_in_executor(self._threads, meter.measure, function, *args)

    def _client(self) -> "SyncPrefectClient":
        if self._sync_client is None:
            self._sync_client = self._resources.enter_context(get_client(sync_client=True))
        return self._sync_client


class _CpuMeter:
    """Sums the CPU time of the calls of a run, each in its own thread, one after the other."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    def measure(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function, and add the CPU time of this thread."""
        started_s = time.thread_time()
        try:
            return function(*args)
        finally:
            self.cpu_s += time.thread_time() - started_s


def _is_claimed(run: "FlowRun", message: str) -> bool:
    return run.state is not None and run.state.is_pending() and run.state.message == message
