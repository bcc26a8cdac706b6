"""Simulated API processes, and the clients that call them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from api.auth.tenant_jobs import cancel_with_children
from api.errors import Problem
from api.jobs.model import SubmitOptions
from api.orchestrator.job_store import PrefectJobStore
from api.orchestrator.suspension import PrefectJobSuspender
from api.orchestrator.webhooks import PrefectDeliveryStore
from simulator.world import Process, World

TIMEOUT_S = 90.0


class ApiDied(Exception):
    """The connection to an API process broke."""


class Api:
    """An API process with the real job store."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.process: Process
        self.start()

    def start(self) -> None:
        """Start the process, or its successor."""
        self.process = self.world.spawn(self.name)
        self.store = PrefectJobStore()
        self.deliveries = PrefectDeliveryStore(self.store.connection)
        self.suspender = PrefectJobSuspender(self.store.connection)

    async def call(self, request: Callable[["Api"], Awaitable[Any]]) -> Any:
        """Handle a request of a client; raises ApiDied if the process dies or does not answer in time."""
        process = self.process
        if not process.is_alive:
            await asyncio.sleep(0.01)
            raise ApiDied

        async def handle() -> Any:
            return await request(self)

        task = self.world.run_in(process, handle())
        done, _ = await asyncio.wait({task, process.died}, timeout=TIMEOUT_S, return_when="FIRST_COMPLETED")
        if task not in done:
            raise ApiDied
        return task.result()


class Client:
    """A client of the API that repeats what failed, at either process."""

    def __init__(self, world: World, apis: list[Api]) -> None:
        self.world, self.apis = world, apis

    async def ask(self, request: Callable[[Api], Awaitable[Any]], tries: int = 12) -> Any:
        """Send a request until it is answered; None if it never is. Raises Problem if it is refused."""
        for number in range(tries):
            api = self.world.random.choice(self.apis)
            try:
                return await api.call(request)
            except ApiDied:
                pass
            except Problem as problem:
                if problem.code != "orchestrator_unavailable":
                    raise
            await asyncio.sleep(min(5.0, 0.2 * 2**number))
        return None

    async def submit(self, job_type: Any, job: Any, options: SubmitOptions) -> Any:
        """Submit a job and repeat until it is accepted, which is safe with a key only."""
        return await self.ask(lambda api: api.store.create(job_type, job, options))

    async def read(self, job_id: Any) -> Any:
        """Read a job, and check the age of the answer."""
        asked: list[float] = []

        async def read(api: Api) -> Any:
            asked[:] = [self.world.loop.now]
            return await api.store.read(job_id)

        job = await self.ask(read)
        if job is not None:
            self.world.monitor.check_read(job, asked[0])
        return job

    async def cancel(self, job_id: Any) -> Any:
        """Cancel a job with its children."""
        return await self.ask(lambda api: cancel_with_children(api.store, job_id, "cancelled"))


def with_key(options: SubmitOptions, key: str) -> SubmitOptions:
    """Return options with an idempotency key."""
    return replace(options, key=key)
