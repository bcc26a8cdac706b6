"""Clients of the simulated server, over a network that loses requests and answers, and is slow."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
from prefect.settings import get_current_settings

from simulator.queries import NotSimulated
from simulator.server import Server
from simulator.world import Process, World, current_process, wait

_REQUEST = httpx.Request("POST", "http://simulated/api")
_RETRIES_S = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Pauses of Prefect's own client between its retries."""


class Network:
    """The network between all processes and the server."""

    def __init__(self, world: World, server: Server) -> None:
        self.world, self.server = world, server
        self.lost_share = 0.0
        """Probability that a request, or its answer, is lost."""
        self.slow_share = 0.0
        """Probability that a request or an answer takes up to `slow_s`."""
        self.slow_s = 3.0

    def latency(self) -> float:
        random = self.world.random
        if not self.world.faults_ended and random.random() < self.slow_share:
            return random.uniform(0.1, self.slow_s)
        return random.uniform(0.0005, 0.01)

    def _is_lost(self) -> bool:
        return not self.world.faults_ended and self.world.random.random() < self.lost_share

    async def send(self, operation: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Send one request: it may be lost before or after the server has acted."""
        world, process = self.world, current_process.get()
        await world.sleep(self.latency())
        if not self.server.is_up or _is_cut_off(world, process):
            raise httpx.ConnectError("connection refused", request=_REQUEST)
        if self._is_lost():
            world.cover("request lost", operation.__name__)
            raise httpx.ConnectTimeout("timed out", request=_REQUEST)
        result: Any = None
        failure: Exception | None = None
        try:
            result = operation(*args, **kwargs)
        except Exception as error:
            failure = error
        if self._is_lost() or not self.server.is_up:
            world.cover("answer lost", operation.__name__)
            await world.sleep(self.latency())
            raise httpx.ReadTimeout("timed out", request=_REQUEST)
        await world.sleep(self.latency())
        if failure is not None:
            raise failure
        return result


def _is_cut_off(world: World, process: Process | None) -> bool:
    return process is not None and process.is_partitioned_until > world.loop.now and not world.faults_ended


class AsyncClient:
    """A `PrefectClient`. It does not retry, as the settings of the API and the workers say."""

    def __init__(self, network: Network) -> None:
        self.network = network

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        operation = _operation(self.network.server, name)
        network = self.network

        async def send(*args: Any, **kwargs: Any) -> Any:
            return await network.send(operation, args, kwargs)

        return send


class SyncClient:
    """A `SyncPrefectClient` with Prefect's own retries, in which a state change keeps its transition id."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __enter__(self) -> "SyncClient":
        return self

    def __exit__(self, *exc_info: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        operation = _operation(self.network.server, name)

        def send(*args: Any, **kwargs: Any) -> Any:
            if name == "set_flow_run_state":
                args = (args[0], _with_transition_id(self.network.world, args[1]), *args[2:])
            return wait(self._retried(operation, args, kwargs))

        return send

    async def _retried(self, operation: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        retries = _RETRIES_S if get_current_settings().client.max_retries else ()
        for pause_s in (*retries, None):
            try:
                return await self.network.send(operation, args, kwargs)
            except (httpx.TimeoutException, httpx.ReadError):
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s * self.network.world.random.uniform(1.0, 1.3))
        raise AssertionError


def _operation(server: Server, name: str) -> Callable[..., Any]:
    operation = getattr(server, name, None)
    if name.startswith("_") or operation is None:
        raise NotSimulated(f"PrefectClient.{name}: add it to tests/simulation/simulator/server.py")
    return operation


def _with_transition_id(world: World, state: Any) -> Any:
    details = state.state_details.model_copy(update={"transition_id": world.uuid()})
    return state.model_copy(update={"state_details": details})


def runtime() -> Any:
    """Return what `prefect.runtime.flow_run` says in the current child process."""
    process = current_process.get()
    if process is None or process.run_id is None:
        return SimpleNamespace(id=None, tags=[])
    return SimpleNamespace(id=str(process.run_id), tags=list(process.run_tags))
