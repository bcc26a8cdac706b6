"""What routes ask for and tests replace."""

from typing import Annotated

from fastapi import Depends, Request

from api.deliveries import Deliveries, PrefectDeliveries
from api.runs import PrefectRuns, Runs


def get_runs(request: Request) -> Runs:
    """Give the routes the app's one door to the job system, made at its first use."""
    return _prefect_runs(request)


def get_deliveries(request: Request) -> Deliveries:
    """Give the routes what webhooks were sent, over the connection of the jobs."""
    return PrefectDeliveries(_prefect_runs(request).connection)


def _prefect_runs(request: Request) -> PrefectRuns:
    state = request.app.state
    if not hasattr(state, "runs"):
        state.runs = PrefectRuns()
    runs: PrefectRuns = state.runs
    return runs


RunsDep = Annotated[Runs, Depends(get_runs)]
DeliveriesDep = Annotated[Deliveries, Depends(get_deliveries)]
