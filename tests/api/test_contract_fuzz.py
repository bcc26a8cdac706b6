"""Requests made up from the API's description: no server error, nothing undescribed."""

from dataclasses import replace

import pytest
import schemathesis
from made_up_requests import checks, grafter, shut_out, tried
from verify_results import RESULT as VERIFIED

from api.dependencies import (
    get_bucket_watches,
    get_job_store,
    get_job_suspender,
    get_thumbnail_store,
    get_worker_store,
)
from api.main import create_app
from flows.prefect_state.status import Progress
from tasks.settings import get_settings


class Nothing:
    """No worker, and no picture of any job."""

    async def list_workers(self):
        return []

    async def read(self, job_id):
        return None


@pytest.fixture
def described(environment, runs, holding, finish):
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
    app.dependency_overrides |= {
        get_job_store: lambda: runs,
        get_job_suspender: lambda: holding,
        get_bucket_watches: lambda: holding,
        get_thumbnail_store: Nothing,
        get_worker_store: Nothing,
    }
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
