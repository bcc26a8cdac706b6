"""The private parts of Prefect that the worker uses: a new Prefect that changes one fails here."""

import inspect


def test_an_intent_can_be_set_read_and_cleared():
    from prefect._internal import control_listener

    from deployments.warm_worker.prefect_internals import set_sigterm_intent

    set_sigterm_intent("reschedule")
    assert control_listener.get_intent() == "reschedule"
    set_sigterm_intent(None)
    assert control_listener.get_intent() is None


def test_the_engine_leaves_the_state_to_who_set_these_intents():
    from prefect import flow_engine

    source = inspect.getsource(flow_engine.FlowRunEngine.initialize_run)
    assert 'intent == "cancel"' in source and "_SUPERVISOR_OWNED_INTENTS" in source
    assert "reschedule" in flow_engine._SUPERVISOR_OWNED_INTENTS
    assert "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS" in inspect.getsource(flow_engine)


def test_a_flow_is_found_by_its_entrypoint_variable():
    from prefect import flow_engine

    assert "PREFECT__FLOW_ENTRYPOINT" in inspect.getsource(flow_engine.load_flow)


def test_no_frequency_means_no_heartbeat_thread():
    from prefect.settings.context import get_current_settings

    from deployments.warm_worker.prefect_internals import run_settings

    with run_settings():
        assert get_current_settings().flows.heartbeat_frequency is None


def test_the_worker_base_has_what_is_used_and_overridden():
    from prefect.workers.base import BaseJobConfiguration, BaseWorker

    for name in (
        "_emit_flow_run_submitted_event",
        "_emit_flow_run_executed_event",
        "_event_resource",
        "_worker_metadata",
    ):
        assert callable(getattr(BaseWorker, name))
    source = inspect.getsource(BaseWorker)
    for name in ("_runs_task_group", "_has_successfully_synced", "_last_polled_time", "_work_pool_name"):
        assert f"self.{name}" in source
    assert "cls._base_environment()" in inspect.getsource(BaseJobConfiguration) or (
        "self._base_environment()" in inspect.getsource(BaseJobConfiguration)
    )


def test_hooks_run_for_cancelling_and_crashed():
    from prefect.runner._hook_runner import HookRunner

    assert set(inspect.signature(HookRunner.run_crashed_hooks).parameters) == {"self", "flow_run", "state"}
    assert set(inspect.signature(HookRunner.run_cancellation_hooks).parameters) == {
        "self",
        "flow_run",
        "state",
    }


def test_the_heartbeat_is_the_engine_s_own_event():
    from prefect.flow_engine import BaseFlowRunEngine

    assert '"prefect.flow-run.heartbeat"' in inspect.getsource(BaseFlowRunEngine._emit_flow_run_heartbeat)


def test_the_worker_type_is_known_to_prefect():
    from prefect.workers.base import BaseWorker

    from deployments.warm_worker.worker import WarmWorker
    from deployments.work_pools import WORKER_TYPE

    assert BaseWorker.get_worker_class_from_type(WORKER_TYPE) is WarmWorker
