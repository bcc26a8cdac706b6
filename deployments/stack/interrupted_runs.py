"""
Requeue jobs that were interrupted when a stack stopped, before its workers start again.

Only for a stack with its own Prefect server: before its workers start, no run can be executing, even if the
server's records say so. Where several machines share a server, other workers may be alive; there, an
automation and the workers' reaper detect lost runs.
"""


def requeue_interrupted() -> list[str]:
    """
    Requeue, crash or cancel every run that the server still records as Pending, Running or Cancelling.

    A run is requeued under its own id, unless its attempts are used up (`flows.prefect_state.attempts`,
    MUSETALK_WORKER__MAX_STARTS) or it was being cancelled. Finished steps come from the cache. The slots of
    their tenants are released.

    Returns:
        One line per run.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    from deployments.warm_worker.ownership import lease_of
    from flows.prefect_state.attempts import state_after_loss
    from flows.webhooks.deliveries import read_all_runs
    from tasks.settings import get_settings

    max_starts = get_settings().worker.max_starts
    unfinished_types = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    run_filter = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished_types)))
    lines: list[str] = []
    with get_client(sync_client=True) as client:
        for run in read_all_runs(client, run_filter):
            if run.state_type == StateType.CANCELLING:
                state = Cancelled(message="Cancelled when the stack stopped.")
            else:
                history = client.read_flow_run_states(run.id)
                state = state_after_loss(history, "the stack or the machine went down", max_starts)
            client.set_flow_run_state(run.id, state, force=True)
            if lease := lease_of(run):
                client.release_concurrency_slots_with_lease(lease)
            lines.append(f"job {run.id} was interrupted: {state.name}")
    return lines
