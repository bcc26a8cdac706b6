"""What routes ask for and tests replace. All are coroutines: plain functions would cost a thread each."""

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
    """Give the routes the app's one door to the job system, made at its first use."""
    return _prefect_runs(request)


async def get_deliveries(request: Request) -> Deliveries:
    """Give the routes what webhooks were sent, over the connection of the jobs."""
    return PrefectDeliveries(_prefect_runs(request).connection)


async def get_pausing(request: Request) -> Pausing:
    """Give the routes what pauses batches, over the connection of the jobs."""
    return PrefectPausing(_prefect_runs(request).connection)


async def get_new_tasks(request: Request) -> NewTasks:
    """Give the routes the tasks that render what is new, over the connection of the jobs."""
    return PrefectNewTasks(_prefect_runs(request).connection)


async def get_lineages(request: Request) -> Lineages:
    """Give the routes what jobs wrote down about their outputs, over the connection of the jobs."""
    return PrefectLineages(_prefect_runs(request).connection)


def _prefect_runs(request: Request) -> PrefectRuns:
    state = request.app.state
    if not hasattr(state, "runs"):
        metrics: Metrics = state.metrics
        state.runs = PrefectRuns(on_created=metrics.taken)
    runs: PrefectRuns = state.runs
    return runs


AllRunsDep = Annotated[Runs, Depends(get_runs)]
"""The job system as it is, whoever asks."""


async def get_scoped_runs(request: Request, runs: AllRunsDep) -> Runs:
    """Return the jobs that the caller may see. Fails on a route without a scope, which has no caller."""
    return ScopedRuns(runs, request.state.caller, request.app.state.gate)


RunsDep = Annotated[Runs, Depends(get_scoped_runs)]
"""The job system as the caller may see it."""
PausingDep = Annotated[Pausing, Depends(get_pausing)]
NewTasksDep = Annotated[NewTasks, Depends(get_new_tasks)]
DeliveriesDep = Annotated[Deliveries, Depends(get_deliveries)]
LineagesDep = Annotated[Lineages, Depends(get_lineages)]
