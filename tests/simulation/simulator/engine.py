"""
The engine of a child process: claims Running, runs the flow's body, and reports its final state.

Orchestration, webhook and maintenance flows are the product's own functions. A media job stands for
rendering: it takes a while, writes its result as Prefect artifacts, and may fail.
"""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Completed, Failed, Running

from deployments.warm_worker.child.slot import RunOutcome
from flows.announce import announce
from flows.batch import batch
from flows.end_parts import end_parts
from flows.notify import notify
from flows.registry import FLOWS
from flows.schemas.control import read_control
from musetalk_core.errors import RenderError
from simulator import client as clients
from simulator.world import Process, World, run_sync, wait
from tasks.run import cancellation
from tasks.run.tenancy import on_behalf_of

BODIES: dict[str, Any] = {"announce": announce, "batch": batch, "end_parts": end_parts, "notify": notify}
"""Flows of the product that are run as they are."""
FAILS = "fails"
"""A media job whose text contains this word fails."""
LONG = "long"
"""A media job whose text contains this word takes a minute."""


class SimulatedFailure(RenderError):
    """The error of a media job that fails."""

    code = "unsupported_media"


async def execute(world: World, child: Process, run_id: str, end: Callable[[RunOutcome], None]) -> None:
    """Execute one run, and report how it ended, as the child of a worker does."""
    try:
        state_type = await run_sync(_run, world, child, UUID(run_id))
    except (Abort, ObjectNotFound):
        end(RunOutcome(None, 0))
    except httpx.HTTPError:
        end(RunOutcome(None, 1))  # it lost the server
    else:
        end(RunOutcome(state_type, 0))


def _run(world: World, child: Process, run_id: UUID) -> str | None:
    client = clients.SyncClient(world.network)
    run = client.read_flow_run(run_id)
    child.run_id, child.run_tags = run_id, tuple(run.tags)
    if _propose(client, run_id, Running()).type.value != "RUNNING":
        return None
    name = world.server.flows[run.flow_id].name
    job = FLOWS[name].job.model_validate(run.parameters.get("job") or {})
    control = read_control(run.parameters)
    world.monitor.begin(run, child)
    try:
        with on_behalf_of(control.tenant):
            if name in BODIES:
                BODIES[name].fn(job=job, control=control)
            else:
                _render(world, client, run, job)
    except (Abort, httpx.HTTPError):
        raise
    except Exception as error:
        if not isinstance(error, RenderError):
            world.violate("no surprise", f"{name} raised {type(error).__name__}: {error}")
        state: Any = Failed(message=str(error))
    else:
        state = Completed()
    finally:
        world.monitor.finish(run, child)
    return _propose(client, run_id, state).type.value


def _render(world: World, client: Any, run: Any, job: Any) -> None:
    """Stand for a media job: progress, the result as an artifact, then the end."""
    text = str(getattr(job, "text", ""))
    duration_s = 60.0 if LONG in text else world.random.choice((0.1, 0.5, 2.0, 8.0))
    end = world.loop.now + duration_s
    while world.loop.now < end:
        wait(world.sleep(min(0.5, duration_s / 2)))
        cancellation.raise_if_cancelled()
    if FAILS in text:
        data = {"code": SimulatedFailure.code, "message": "made to fail", "retryable": False}
        client.create_artifact(run.id, "error", "json", json.dumps(data), None)
        raise SimulatedFailure("made to fail")
    client.create_artifact(run.id, "result", "json", json.dumps({"text": text}), None)


def _propose(client: Any, run_id: UUID, state: Any) -> Any:
    """Propose a state as Prefect's engine does; return the state that the run then has."""
    while True:
        response = client.set_flow_run_state(run_id, state)
        match response.status.value:
            case "WAIT":
                wait(client.network.world.sleep(response.details.delay_seconds))
            case "ABORT":
                raise Abort(response.details.reason)
            case _:
                return response.state
