"""
Announce runs that wait in the queue after an attempt, so that the server does not take them for lost.

The automation for lost runs judges by events alone: a run with a heartbeat and nothing after it has crashed.
The event of a run that was queued again is lost if its server is killed before it publishes it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.sorting import FlowRunSort

from flows.prefect_state.attempts import RUN_WAITS_EVENT, WAITING_STATES

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

INTERVAL_S: Final = 30.0
"""Four announcements in the time after which the automation acts: each may be lost."""
RECENT: Final = timedelta(minutes=5)
"""The automation no longer waits for a run that was queued before that time."""
_PAGE_SIZE: Final = 200


async def announce_waiting_runs_forever(client: "PrefectClient", pool: str, emit: Callable[..., Any]) -> None:
    """Announce the waiting runs of a work pool every INTERVAL_S, until cancelled."""
    while True:
        with suppress(httpx.HTTPError, OSError):
            await announce_waiting_runs(client, pool, emit)
        await asyncio.sleep(INTERVAL_S)


async def announce_waiting_runs(client: "PrefectClient", pool: str, emit: Callable[..., Any]) -> None:
    """
    Emit an event for each run of a work pool that was queued again or paused lately.

    Args:
        client: client of the server.
        pool:   name of the work pool.
        emit:   Prefect's `emit_event`.
    """
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=list(WAITING_STATES)))
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=_PAGE_SIZE,
    )
    now = datetime.now(UTC)
    for run in runs:
        if run.state is not None and now - run.state.timestamp < RECENT:
            emit(RUN_WAITS_EVENT, resource=_resource(run))


def _resource(run: "FlowRun") -> dict[str, str]:
    return {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
