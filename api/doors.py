"""What routes ask for and tests replace. All are coroutines: plain functions would cost a thread each."""

from typing import Annotated

from fastapi import Depends, Request

from api.deliveries import Deliveries, PrefectDeliveries
from api.holding import Holding, PrefectHolding
from api.lineages import Lineages, PrefectLineages
from api.metrics import Metrics
from api.prefect_runs import PrefectRuns
from api.runs import Runs
from api.scoped_runs import ScopedRuns


async def get_runs(request: Request) -> Runs:
    """Give the routes the app's one door to the job system, made at its first use."""
    return _prefect_runs(request)


async def get_deliveries(request: Request) -> Deliveries:
    """Give the routes what webhooks were sent, over the connection of the jobs."""
    return PrefectDeliveries(_prefect_runs(request).connection)


async def get_holding(request: Request) -> Holding:
    """Give the routes what pauses batches and knows tasks, over the connection of the jobs."""
    return PrefectHolding(_prefect_runs(request).connection)


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
    """Give the routes what the caller may see; routes that ask for no key know no caller."""
    caller = getattr(request.state, "caller", None)
    return runs if caller is None else ScopedRuns(runs, caller, request.app.state.gate)


RunsDep = Annotated[Runs, Depends(get_scoped_runs)]
"""The job system as the caller may see it."""
HoldingDep = Annotated[Holding, Depends(get_holding)]
DeliveriesDep = Annotated[Deliveries, Depends(get_deliveries)]
LineagesDep = Annotated[Lineages, Depends(get_lineages)]
