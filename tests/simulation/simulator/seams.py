"""
Replacement of what the product gets from outside: time, random ids, Prefect's client and events, S3.

Each replacement is made by identity wherever a module of the product or of Prefect holds the original. So
it does not matter which module of the product uses what, or under which name.
"""

import contextlib
import logging
import random
import sys
import time
import uuid
from collections.abc import Generator
from datetime import datetime, tzinfo
from typing import Any

from simulator import client as clients
from simulator.store import S3Client
from simulator.world import current_process, wait, world

_PACKAGES = ("api", "flows", "tasks", "deployments", "prefect", "anyio", "tenacity")
real_monotonic, real_cpu = time.monotonic, time.process_time


class _Type(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


class SimulatedDatetime(datetime, metaclass=_Type):
    """`datetime` whose `now` is the clock of the current process."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return world().wall(current_process.get()).astimezone(tz)


def _monotonic() -> float:
    return world().loop.now


def _time() -> float:
    return world().wall(current_process.get()).timestamp()


def _sleep(seconds: float) -> None:
    wait(world().sleep(seconds))


def _prefect_now(tz: Any = "UTC") -> datetime:
    return world().wall(current_process.get())


def _uuid4() -> uuid.UUID:
    return world().uuid()


def _get_client(*args: Any, sync_client: bool = False, **kwargs: Any) -> Any:
    network = world().network
    return clients.SyncClient(network) if sync_client else clients.AsyncClient(network)


def _get_events_subscriber(filter: Any = None, **kwargs: Any) -> Any:
    from simulator.events import Subscriber

    server, process = world().server, current_process.get()
    return Subscriber(
        server.events, filter, lambda: server.is_up and not clients._is_cut_off(world(), process)
    )


def _child_events(parents: Any) -> Any:
    from simulator.events import ChildEvents

    server, process = world().server, current_process.get()
    return ChildEvents(
        server.events, parents, lambda: server.is_up and not clients._is_cut_off(world(), process)
    )


def _emit_event(
    event: str, resource: Any = None, related: Any = None, payload: Any = None, **kwargs: Any
) -> None:
    process = current_process.get()
    if process is not None and not process.is_alive:
        return
    name = str((resource or {}).get("prefect.resource.id", ""))
    if event == "prefect.flow-run.heartbeat":  # the only one that the product reads back
        world().server.events.emit(event, name)


def _process_token(pid: int) -> str | None:
    process = current_process.get()
    return process.token if process else "test/1/1"


def _has_process_ended(token: str) -> bool | None:
    process, asking = world().processes.get(token), current_process.get()
    if process is None or asking is None or process.machine != asking.machine:
        return None
    return not process.is_alive


def _raise_if_cancelled() -> None:
    from tasks.run.cancellation import Cancelled

    process = current_process.get()
    if process is not None and process.is_cancelled:
        raise Cancelled("the job was canceled")


def _post_webhook(url: str, body: bytes, headers: Any, *args: Any, **kwargs: Any) -> Any:
    return wait(world().receiver.receive(url, body, dict(headers)))


class _Runtime:
    def __getattr__(self, name: str) -> Any:
        return getattr(clients.runtime(), name)


class _Artifact:
    """`prefect.artifacts.Artifact`."""

    def __init__(
        self, type: str | None = None, key: str | None = None, data: Any = None, description: Any = None
    ) -> None:
        self._values = (key, type, data, description)

    def create(self) -> Any:
        run_id = clients.runtime().id
        return _get_client(sync_client=True).create_artifact(uuid.UUID(run_id), *self._values)


def _create_progress_artifact(progress: float, key: str, description: str | None = None) -> Any:
    return _Artifact("progress", key, progress, description).create()


def _create_table_artifact(table: Any, key: str, description: str | None = None) -> Any:
    return _Artifact("table", key, table, description).create()


class _Variable:
    @staticmethod
    def get(name: str, default: Any = None) -> Any:
        return world().server.variables.get(name, default)

    @staticmethod
    def set(name: str, value: Any, overwrite: bool = False) -> None:
        world().server.variables[name] = value


def _lease_storage() -> Any:
    from simulator.limits import LeaseStorage

    return LeaseStorage(world().server)


def _s3_client(s3: Any, only_new: bool, pid: int) -> Any:
    return S3Client(world().bucket, only_new)


def install() -> None:
    """Make all replacements, for the rest of this process."""
    import prefect.artifacts
    import prefect.client.orchestration
    import prefect.events
    import prefect.events.clients
    import prefect.logging
    import prefect.runtime
    import prefect.types._datetime
    import prefect.variables
    import prefect.workers.base
    from prefect.server.concurrency import lease_storage

    # all modules of the product that histories use have to be imported before their names are replaced
    import simulator.caches
    import simulator.scenario
    from deployments.warm_worker.child import process_identity
    from flows.orchestration import child_events
    from tasks.outbound import webhook_post
    from tasks.run import cancellation
    from tasks.storage import s3_clients

    logging.disable(logging.CRITICAL)
    quiet = logging.getLogger("simulation")
    replacements: list[tuple[Any, Any]] = [
        (uuid.uuid4, _uuid4),
        (prefect.types._datetime.now, _prefect_now),
        (prefect.client.orchestration.get_client, _get_client),
        (prefect.events.clients.get_events_subscriber, _get_events_subscriber),
        (prefect.events.emit_event, _emit_event),
        (child_events.ChildEvents, _child_events),
        (prefect.logging.get_run_logger, lambda *args, **kwargs: quiet),
        (prefect.runtime.flow_run, _Runtime()),
        (prefect.artifacts.Artifact, _Artifact),
        (prefect.artifacts.create_progress_artifact, _create_progress_artifact),
        (prefect.artifacts.create_table_artifact, _create_table_artifact),
        (prefect.variables.Variable, _Variable),
        (lease_storage.get_concurrency_lease_storage, _lease_storage),
        (process_identity.process_token, _process_token),
        (process_identity.has_process_ended, _has_process_ended),
        (cancellation.raise_if_cancelled, _raise_if_cancelled),
        (webhook_post.post_webhook, _post_webhook),
        (s3_clients.client, _s3_client),
        (datetime, SimulatedDatetime),
    ]
    _replace({id(original): replacement for original, replacement in replacements})
    simulator.caches.install()
    uuid.uuid4 = _uuid4
    time.monotonic, time.time, time.sleep = _monotonic, _time, _sleep


def _replace(by_identity: dict[int, Any]) -> None:
    for name, module in list(sys.modules.items()):
        package = name.partition(".")[0]
        if package not in _PACKAGES or module is None:
            continue
        for attribute, value in list(vars(module).items()):
            replacement = by_identity.get(id(value))
            is_product = package not in {"prefect", "anyio", "tenacity"}
            if replacement is None or (value is datetime and not is_product):
                continue
            setattr(module, attribute, replacement)


@contextlib.contextmanager
def seeded(seed: int) -> Generator[None]:
    """Seed the random numbers that the product draws, such as the jitter of retries."""
    random.seed(f"product {seed}")
    yield
