"""Requests made up from the API's description: no server error, nothing undescribed."""

from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.doors import get_holding, get_runs
from api.main import create_app
from api.reports import Progress
from tasks.settings import get_settings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
BOUNDED = settings(
    deadline=None,
    derandomize=True,  # a suite that fails, fails again
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def described(environment, runs, holding, finish):
    """The app on jobs that end at once: nothing waits."""
    environment.setenv("MUSETALK_API__KEYS", "key-of-the-tests")
    environment.setenv("MUSETALK_API__MAX_WAIT_S", "0")
    get_settings.cache_clear()
    ended = finish(runs.add())

    def end(run):
        return replace(run, status="succeeded", result=ended.result, progress=Progress(100.0, "upload", 1, 1))

    runs.on_create = end
    app = create_app()
    app.dependency_overrides |= {get_runs: lambda: runs, get_holding: lambda: holding}
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def tried(schema, check, examples):
    """Try every operation; gives what went wrong, by operation."""
    faults = {}
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(BOUNDED, max_examples=examples)
        @given(case=operation.as_strategy())
        def trial(case):
            check(case)

        try:
            trial()
        except Exception as error:
            faults[operation.label] = str(error)
    return faults


def test_who_has_a_key_gets_what_is_described(described):
    def check(case):
        case.call_and_validate(headers={"Authorization": "Bearer key-of-the-tests"}, checks=CHECKS)

    assert tried(described, check, examples=30) == {}


def test_who_has_none_is_told_so(described):
    public = {"/", "/healthz", "/readyz", "/startupz", "/version", "/metrics"}

    def check(case):
        answer = case.call_and_validate(checks=CHECKS)
        # a body that cannot be read is refused before anybody is asked who they are
        assert (answer.status_code < 400) is (case.path in public) or answer.status_code in {
            400,
            401,
            413,
            415,
        }

    assert tried(described, check, examples=3) == {}
