"""Simulated worker processes: the real `WarmWorker` on simulated children."""

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx

from deployments.warm_worker.child.slot import RunOutcome, Slot
from deployments.warm_worker.job_configuration import WarmJobConfiguration
from deployments.warm_worker.worker import WarmWorker
from simulator import client as clients
from simulator import engine
from simulator.world import Process, World, current_process
from tasks.settings import get_settings

HEARTBEAT_S = 30.0
POLL_S = 15.0


class SimulatedSlot(Slot):
    """A `Slot` whose child is a simulated process."""

    def __init__(self, number: int, world: World, worker: Process, on_free: Any) -> None:
        super().__init__(number, {}, (), get_settings().worker, on_free, lambda line: None)
        self.world, self._worker = world, worker
        self.state = "idle"
        self._child: Process | None = None
        self._ended: Any = None

    @property
    def pid(self) -> int:
        return 1

    async def execute(self, request: Any, affinity_keys: Any) -> RunOutcome:
        """Execute a run in a child process; the child may die, or outlive its worker for a while."""
        world = self.world
        self.state = "busy"
        self.totals.start_run(request.run_id)
        child = world.spawn(f"{self._worker.name}/child", self._worker.machine)
        self._worker.children.append(child)
        self._child, self._ended = child, world.loop.create_future()
        task = world.run_in(child, engine.execute(world, child, request.run_id, self._end))
        del task
        child.died.add_done_callback(lambda _: self._end(RunOutcome(None, -9)))
        self._worker.died.add_done_callback(lambda _: self._orphan(child))
        outcome = await self._ended
        await world.step()
        world.kill(child) if child.is_alive and outcome.exit_code else setattr(child, "is_alive", False)
        self._child = None
        self.state = "ending"
        if outcome.exit_code:
            await world.sleep(1.0)  # its successor starts
        self.state = "idle"
        self._on_free()
        return outcome

    def _end(self, outcome: RunOutcome) -> None:
        if not self._ended.done():
            self._ended.set_result(outcome)

    def _orphan(self, child: Process) -> None:
        """End a child whose worker has died: it notices the closed socket soon."""
        self.world.loop.call_later(self.world.random.uniform(0.01, 2.0), self.world.kill, child)

    async def stop(self, reason: str) -> None:
        """Stop the current run: a flow that checks may end by itself, else the child is killed."""
        child, ended = self._child, self._ended
        if child is None:
            return
        child.is_cancelled = reason in {"cancel", "time", "deadline"}
        await self.world.sleep(self.world.random.uniform(0.2, 2.0))
        if not ended.done():
            self._end(RunOutcome(None, -15))

    def request_hooks(self, run_id: str, state: Any) -> None:
        pass


class SimulatedWorker(WarmWorker):
    """The real worker, without the start of processes and the connection that Prefect's base class makes."""

    def get_flow_run_logger(self, flow_run: Any) -> Any:
        return self._logger

    async def _request_configuration(self, run: Any) -> Any:
        await self.client.read_deployment(run.deployment_id)
        await self.client.read_flow(run.flow_id)
        return WarmJobConfiguration.model_construct(env={}, max_time=None, crash_retries=1)

    def _emit_flow_run_submitted_event(self, configuration: Any) -> Any:
        return None

    async def live(self, world: World, pool: Any, slots: int) -> None:
        """Run until the process dies."""
        process = current_process.get()
        self._client, self._work_pool = clients.AsyncClient(world.network), pool
        self.slots += [SimulatedSlot(n, world, process, self._poller.request_poll) for n in range(slots)]
        self._limit, self.is_setup, self._is_watching = slots, True, True
        self._temp_folders: Any = SimpleNamespace(
            run_folder=lambda run: contextlib.nullcontext(Path("/nowhere"))
        )
        process.worker = self
        async with anyio.create_task_group() as group:
            self._runs_task_group = group
            await self._heartbeat()
            self._has_successfully_synced = True
            self._start_services(pool.id)
            group.start_soon(self._poll_now_and_then)
            while True:
                await anyio.sleep(HEARTBEAT_S)
                await self._heartbeat()

    async def _heartbeat(self) -> None:
        while True:
            try:
                await self.client.send_worker_heartbeat(self._work_pool.name, self.name)
            except httpx.HTTPError:
                await anyio.sleep(1.0)
            else:
                return

    async def _poll_now_and_then(self) -> None:
        while True:
            await self.get_and_submit_flow_runs()
            await anyio.sleep(POLL_S)


def start_worker(world: World, pool: str, name: str, machine: str, slots: int) -> Process:
    """Start a worker process."""
    process = world.spawn(name, machine)

    async def main() -> None:
        worker = SimulatedWorker(work_pool_name=pool, name=name, limit=slots)
        real = world.server.pools[pool]
        await worker.live(world, SimpleNamespace(id=real.id, name=real.name), slots)

    task = world.run_in(process, main())
    task.add_done_callback(lambda done: world.on_task_ended(process, done))
    return process
