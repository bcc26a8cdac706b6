"""
FastAPI dependencies of the routes; tests override them.

All are coroutines, because FastAPI runs each plain function in a thread.
"""

from typing import Annotated

from fastapi import Depends, Request

from api.deliveries import Deliveries, PrefectDeliveries
from api.lineages import Lineages, PrefectLineages
from api.metrics import Metrics
from api.new_tasks import NewTasks, PrefectNewTasks
from api.pausing import Pausing, PrefectPausing
from api.prefect_runs import PrefectRuns
from api.runs import Runs
from api.scoped_runs import ScopedRuns


async def get_runs(request: Request) -> Runs:
    """Return the app's job store, created on first use."""
    return _prefect_runs(request)


async def get_deliveries(request: Request) -> Deliveries:
    """Return the webhook deliveries, read over the job store's connection."""
    return PrefectDeliveries(_prefect_runs(request).connection)


async def get_pausing(request: Request) -> Pausing:
    """Return the service that pauses and resumes jobs over the job store's connection."""
    return PrefectPausing(_prefect_runs(request).connection)


async def get_new_tasks(request: Request) -> NewTasks:
    """Return the bucket watches (schedules of `render_new`), read over the job store's connection."""
    return PrefectNewTasks(_prefect_runs(request).connection)


async def get_lineages(request: Request) -> Lineages:
    """Return the provenance manifests, read over the job store's connection."""
    return PrefectLineages(_prefect_runs(request).connection)


def _prefect_runs(request: Request) -> PrefectRuns:
    state = request.app.state
    if not hasattr(state, "runs"):
        metrics: Metrics = state.metrics
        state.runs = PrefectRuns(on_created=metrics.taken)
    runs: PrefectRuns = state.runs
    return runs


AllRunsDep = Annotated[Runs, Depends(get_runs)]
"""The job store without tenant restrictions."""


async def get_scoped_runs(request: Request, runs: AllRunsDep) -> Runs:
    """Return the job store restricted to the caller. Fails on a public route, which has no caller."""
    return ScopedRuns(runs, request.state.caller, request.app.state.gate)


RunsDep = Annotated[Runs, Depends(get_scoped_runs)]
"""The job store restricted to the caller's tenant."""
PausingDep = Annotated[Pausing, Depends(get_pausing)]
NewTasksDep = Annotated[NewTasks, Depends(get_new_tasks)]
DeliveriesDep = Annotated[Deliveries, Depends(get_deliveries)]
LineagesDep = Annotated[Lineages, Depends(get_lineages)]
