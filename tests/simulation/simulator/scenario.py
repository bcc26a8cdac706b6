"""One history of jobs: what clients do, which faults happen, and the recovery afterwards."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from prefect.client.schemas.objects import StateType

from deployments.manifest import load_deployments
from deployments.provisioning.automations import AUTOMATIONS
from flows.registry import INTERNAL_FLOWS
from simulator import client_scripts
from simulator.apis import Api, Client
from simulator.client import Network
from simulator.janitor import start_janitor
from simulator.limits import REPOSSESS_INTERVAL_S
from simulator.monitor import Monitor
from simulator.receiver import Receiver
from simulator.server import Server
from simulator.store import Bucket
from simulator.workers import start_worker
from simulator.world import Process, World

RECOVERY_S = 1800.0
"""Virtual seconds after the faults within which everything that was promised must have come true."""
JANITOR_INTERVAL_S = 300.0


@dataclass(frozen=True, slots=True)
class FaultProfile:
    """How bad the circumstances of a history are."""

    name: str
    lost: float = 0.0
    slow: float = 0.0
    crash: float = 0.0
    events_lost: float = 0.0
    events_doubled: float = 0.0
    outages: int = 0
    partitions: int = 0
    skew_s: float = 0.0
    webhooks: float = 0.0


PROFILES = (
    FaultProfile("skew", skew_s=0.5),
    FaultProfile("events", events_lost=0.3, events_doubled=0.3, skew_s=0.5),
    FaultProfile("slow", slow=0.25, events_lost=0.5, events_doubled=0.2),
    FaultProfile("crashes", crash=0.01, events_lost=0.1),
    FaultProfile("lossy", lost=0.05, slow=0.05, events_lost=0.2, webhooks=0.3),
    FaultProfile("outages", outages=2, slow=0.05, events_lost=0.1, webhooks=0.2),
    FaultProfile("partitions", partitions=2, lost=0.02, crash=0.003),
    FaultProfile(
        "storm",
        lost=0.05,
        slow=0.1,
        crash=0.01,
        events_lost=0.3,
        events_doubled=0.2,
        outages=1,
        partitions=1,
        skew_s=1.5,
        webhooks=0.3,
    ),
)


class History:
    """One history."""

    def __init__(self, world: World, profile: FaultProfile) -> None:
        self.world, self.profile, self.random = world, profile, world.random
        world.server = server = Server(world)
        world.network, world.bucket = Network(world, server), Bucket(world)
        world.receiver, world.monitor = Receiver(world), Monitor(world)
        world.crash_share, world.max_crashes = profile.crash, 6 if profile.crash else 0
        world.network.lost_share, world.network.slow_share = profile.lost, profile.slow
        world.bucket.lost_share = profile.lost
        server.events.lost_share, server.events.doubled_share = profile.events_lost, profile.events_doubled
        server.events.on_event = self._automate
        world.receiver.refused_share, world.receiver.lost_share = profile.webhooks, profile.webhooks / 3
        world.monitor.limits_are_strict = not (profile.lost or profile.outages or profile.partitions)
        world.monitor.releases_are_prompt = profile.name in {"skew", "events"}
        world.monitor.has_outages = bool(profile.outages or profile.partitions or profile.lost)
        for spec in _deployments():
            server.deploy(spec.job_type.name, spec.name, spec.pool, list(spec.tags))
        server.limit("tenant:anna", 1)
        server.limit("tenant:bert", 2)
        self.workers: dict[str, tuple[Process, tuple[Any, ...]]] = {}
        self.accepted: list[Any] = []
        self.skews = {machine: self._skew() for machine in ("m0", "m1")}

    def _skew(self) -> timedelta:
        return timedelta(seconds=self.random.uniform(-self.profile.skew_s, self.profile.skew_s))

    # automations

    def _automate(self, event: Any) -> None:
        server = self.world.server
        tags = {part.id.removeprefix("prefect.tag.") for part in event.related if part.role == "tag"}
        for spec in AUTOMATIONS:
            if event.event in spec.events and (spec.tag is None or spec.tag in tags) and server.is_up:
                deployment = server.read_deployment_by_name(INTERNAL_FLOWS[spec.flow].deployment)
                run_id = event.resource.id.removeprefix("prefect.flow-run.")
                server.create_flow_run_from_deployment(
                    deployment.id,
                    parameters={"job": {"run": run_id, **spec.extra_parameters}},
                    idempotency_key=str(self.world.uuid()),
                )

    # processes

    def _start_worker(self, pool: str, name: str, machine: str, slots: int) -> None:
        process = start_worker(self.world, pool, name, machine, slots)
        process.skew = self.skews[machine]
        self.workers[name] = process, (pool, name, machine, slots)
        process.died.add_done_callback(lambda _: self._restart_worker(name))

    def _restart_worker(self, name: str) -> None:
        if self.world.is_closed:
            return
        _, (pool, _, machine, slots) = self.workers[name]
        delay_s = 2.0 if self.world.faults_ended else self.random.choice((0.5, 5.0, 30.0))
        self.world.loop.call_later(delay_s, self._start_worker, pool, name, machine, slots)

    def _start_api(self, api: Api) -> None:
        api.start()
        api.process.skew = self.skews["m0"]
        api.process.died.add_done_callback(
            lambda _: self.world.is_closed or self.world.loop.call_later(1.0, self._start_api, api)
        )

    # the history

    async def play(self) -> None:
        """Play the history and check what must be true at its end."""
        world, random = self.world, self.random
        world.cover("profile", self.profile.name)
        apis = [Api(world, "api0"), Api(world, "api1")]
        for api in apis:
            self._start_api(api)
        other = random.choice(("m0", "m1"))
        for pool, slots in (("gpu", 2), ("light", 2)):
            self._start_worker(pool, f"{pool}0", "m0", slots)
            self._start_worker(pool, f"{pool}1", other, slots)
        background = [
            world.loop.create_task(self._server_services()),
            world.loop.create_task(self._janitors()),
        ]
        faults = [world.loop.create_task(one) for one in self._faults()]
        client = Client(world, apis)
        running = [
            world.loop.create_task(script) for script in client_scripts.choose(world, client, self.accepted)
        ]
        await asyncio.wait(running, timeout=300)
        for task in faults:
            task.cancel()
        await self._recover(running)
        for task in background:
            task.cancel()
        for task in running:
            if task.done() and not task.cancelled() and task.exception() is not None:
                from simulator.world import describe

                world.violate("no surprise", f"a client got {describe(task.exception())}")

    async def _server_services(self) -> None:
        while True:
            for _ in range(3):
                await asyncio.sleep(REPOSSESS_INTERVAL_S / 3)
                self.world.monitor.check_leases()
            if self.world.server.is_up:
                self.world.server.free_expired_leases()

    async def _janitors(self) -> None:
        """Start maintenance as its schedule does; in a history with faults sometimes two at once."""
        while True:
            await asyncio.sleep(30.0 if not self.world.faults_ended else JANITOR_INTERVAL_S / 4)
            for _ in range(1 if self.world.faults_ended else 2):
                start_janitor(self.world)

    def _faults(self) -> list[Any]:
        outages = [self._outage() for _ in range(self.profile.outages)]
        return outages + [self._partition() for _ in range(self.profile.partitions)] + [self._drain()]

    async def _outage(self) -> None:
        server, random = self.world.server, self.random
        await asyncio.sleep(random.uniform(1, 40))
        self.world.note("the server dies")
        server.loses_next_lease = random.random() < 0.3
        if server.loses_next_lease:
            await asyncio.sleep(0.5)
        server.is_up = False
        server.events.disconnect_all()
        await asyncio.sleep(random.choice((1.0, 10.0, 70.0)))
        server.is_up, server.loses_next_lease = True, False
        self.world.note("the server is back")

    async def _partition(self) -> None:
        await asyncio.sleep(self.random.uniform(1, 30))
        process, _ = self.random.choice(list(self.workers.values()))
        seconds = self.random.choice((3.0, 20.0, 100.0))
        self.world.note(f"{process.name} is cut off for {seconds:.0f} s")
        self.world.monitor.was_cut_off[process] = self.world.loop.now
        for one in [process, *process.children]:
            one.is_partitioned_until = self.world.loop.now + seconds

    async def _drain(self) -> None:
        """Shut one worker down gracefully: it returns its runs to the queue."""
        if self.random.random() < 0.6:
            return
        await asyncio.sleep(self.random.uniform(2, 20))
        process, _ = self.random.choice(list(self.workers.values()))
        worker = getattr(process, "worker", None)
        if worker is None or not process.is_alive:
            return
        self.world.note(f"{process.name} drains")
        self.world.cover("drain")
        worker._graceful_shutdown.has_begun = True
        for run_id in list(worker._claimed_runs):
            worker._stop_run(run_id, "hand_back")
        await asyncio.sleep(6.0)
        self.world.kill(process)

    async def _recover(self, running: list[Any]) -> None:
        world, server = self.world, self.world.server
        world.faults_ended, server.is_up = True, True
        server.loses_next_lease = False
        end = world.loop.now + RECOVERY_S
        while world.loop.now < end and not self._is_over(running):
            await asyncio.sleep(2.0)
        world.note("the end")

    def _is_over(self, running: list[Any]) -> bool:
        server = self.world.server
        from simulator.final_checks import open_webhooks

        return (
            all(task.done() for task in running)
            and all(run.state_type in _FINAL or _is_later(self.world, run) for run in server.runs.values())
            and all(limit.active_slots == 0 for limit in server.limits.values())
            and not open_webhooks(self.world)
        )


@lru_cache
def _deployments() -> list[Any]:
    return load_deployments()


_FINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})


def _is_later(world: World, run: Any) -> bool:
    """Return whether a run is a webhook attempt that is due in more than a minute."""
    due = run.next_scheduled_start_time
    return due is not None and due > world.wall() + timedelta(seconds=60)
