"""What routes ask for and tests replace."""

from typing import Annotated

from fastapi import Depends, Request

from api.prefect_runs import PrefectRuns
from api.runs import Runs


def get_runs(request: Request) -> Runs:
    """Give the routes the app's one door to the job system, made at its first use."""
    state = request.app.state
    if not hasattr(state, "runs"):
        state.runs = PrefectRuns()
    runs: Runs = state.runs
    return runs


RunsDep = Annotated[Runs, Depends(get_runs)]
