"""
Jobs that were interrupted when a stack ended: set going again when it starts.

Only for a stack that owns its server: before its workers start, nothing can be running, whatever the server's
records say. A fleet has automations for this, for there other workers may be alive.
"""

MAX_STARTS = 3


def settle_leftovers() -> list[str]:
    """
    Bring every run that claims to be running to a state that is true.

    A run goes on under its own id, finished steps coming from the cache, unless it was started too often
    or was being stopped.

    Returns:
        One line per run.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    claimed = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=claimed)))
    lines: list[str] = []
    with get_client(sync_client=True) as client:
        while runs := client.read_flow_runs(flow_run_filter=wanted, limit=200):
            for run in runs:
                if run.state_type == StateType.CANCELLING:
                    state = Cancelled(message="Stopped with the machine's stack.")
                elif run.run_count >= MAX_STARTS:
                    state = Crashed(message=f"Interrupted {run.run_count} times.")
                else:
                    state = AwaitingRetry(message="Interrupted; going on.")
                client.set_flow_run_state(run.id, state, force=True)
                lines.append(f"job {run.id} was interrupted: {state.name}")
    return lines
