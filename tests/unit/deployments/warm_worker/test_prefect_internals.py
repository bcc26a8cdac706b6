"""The private parts of Prefect that the worker uses: a new Prefect that changes one fails here."""

import inspect
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


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


@contextmanager
def answering(status, body):
    """A server with one answer for all requests; yields its API's address and the requested paths."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path.partition("?")[0])
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api", asked
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "needs_tokens"),
    [
        (422, {"detail": "CSRF protection is disabled."}, False),
        (422, {"detail": "client is missing"}, True),
        (200, {"token": "t", "client": "c", "expiration": "2030-01-01T00:00:00Z"}, True),
    ],
)
def test_runs_ask_for_csrf_tokens_only_where_the_server_wants_them(monkeypatch, status, body, needs_tokens):
    from prefect.settings.context import get_current_settings

    from deployments.warm_worker import prefect_internals

    monkeypatch.setattr(prefect_internals, "_csrf_checks", {})
    with answering(status, body) as (url, asked):
        monkeypatch.setenv("PREFECT_API_URL", url)
        for _ in range(3):
            with prefect_internals.run_settings():
                assert get_current_settings().client.csrf_support_enabled == needs_tokens
        assert asked == ["/api/csrf-token"]
        monkeypatch.setattr(prefect_internals, "_CSRF_CHECK_INTERVAL_S", 0.0)
        with prefect_internals.run_settings():
            pass
        assert len(asked) == 2


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
