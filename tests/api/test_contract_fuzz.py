"""Requests made up from the API's description: no server error, nothing undescribed."""

from dataclasses import replace

import pytest
import schemathesis
from made_up_requests import checks, grafter, shut_out, tried
from verify_results import RESULT as VERIFIED

from api.main import create_app
from flows.prefect_state.status import Progress
from tasks.settings import get_settings


@pytest.fixture
def described(environment, runs, stores, finish):
    """The app on jobs that end at once: nothing waits."""
    environment.setenv("MUSETALK_API__KEYS", "key-of-the-tests")
    environment.setenv("MUSETALK_API__MAX_WAIT_S", "0")
    get_settings.cache_clear()
    ended = finish(runs.add())

    def end(run):
        result = VERIFIED if run.type == "verify" else ended.result
        return replace(run, status="succeeded", result=result, progress=Progress(100.0, "upload", 1, 1))

    runs.on_create = end
    app = create_app()
    app.dependency_overrides |= stores
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_who_has_a_key_gets_what_is_described(described):
    graft = grafter()

    def check(case):
        graft(case)
        case.call_and_validate(headers={"Authorization": "Bearer key-of-the-tests"}, checks=checks(case.path))

    assert tried(described, check, examples=30) == {}


def test_who_has_none_is_told_so(described):
    def check(case):
        assert shut_out(case.call_and_validate(checks=checks(case.path)), case.path)

    assert tried(described, check, examples=3) == {}
