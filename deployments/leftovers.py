"""
Jobs that were interrupted when a stack ended: set going again when it starts.

Only for a stack that owns its server: before its workers start, nothing can be running, whatever the server's
records say. A fleet has automations for this, for there other workers may be alive.
"""


def settle_leftovers() -> list[str]:
    """
    Bring every run that claims to be running to a state that is true.

    A run is queued again under its own id unless it has used up its attempts (`flows.attempts`,
    MUSETALK_WORKER__MAX_STARTS) or was being cancelled. Finished steps come from the cache.

    Returns:
        One line per run.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    from flows.attempts import state_after_loss
    from flows.webhook_runs import all_pages
    from tasks.settings import get_settings

    max_starts = get_settings().worker.max_starts
    claimed = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=claimed)))
    lines: list[str] = []
    with get_client(sync_client=True) as client:
        for run in all_pages(client, wanted):
            if run.state_type == StateType.CANCELLING:
                state = Cancelled(message="Stopped with the machine's stack.")
            else:
                history = client.read_flow_run_states(run.id)
                state = state_after_loss(history, "the stack or the machine went down", max_starts)
            client.set_flow_run_state(run.id, state, force=True)
            lines.append(f"job {run.id} was interrupted: {state.name}")
    return lines
