"""Jobs that ran out of time: `canceled` or `aborted` here, `failed` with its text in the older APIs."""

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest

from api.jobs.model import Job
from flows.prefect_state.status import JobError, error_of, status_of
from tasks.settings import get_settings

TEXT = "Job exceeded maximum runtime of 60 seconds"


@pytest.fixture
def overdue(runs):
    run = Job(
        id=uuid4(),
        type="speech",
        status="canceled",
        created=datetime.now(UTC),
        ended_as="max_time",
        error=JobError("deadline_exceeded", TEXT, retryable=False),
    )
    runs.jobs[run.id] = run
    return run


def test_older_clients_stop_asking(client, overdue):
    status = client.get(f"/status/{overdue.id}").json()
    result = client.get(f"/result/{overdue.id}").json()
    assert (status["status"], status["error"]) == ("failed", TEXT)
    assert (result["status"], result["error"]) == ("failed", TEXT)


def test_the_operator_may_prefer_the_honest_word(client, overdue, monkeypatch):
    monkeypatch.setenv("MUSETALK_COMPAT__DEADLINE_WORD", "timed_out")
    get_settings.cache_clear()
    assert client.get(f"/status/{overdue.id}").json()["status"] == "timed_out"
    get_settings.cache_clear()


def test_the_job_says_what_it_is(client, overdue):
    job = client.get(f"/v1/jobs/{overdue.id}").json()
    assert job["status"] == "canceled" and job["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("max_time", "canceled", "deadline_exceeded"),
        ("complete_in", "canceled", "deadline_exceeded"),
        ("aborted", "aborted", "deadline_exceeded"),
        ("cancelled", "canceled", None),
    ],
)
def test_prefect_s_record_is_read(word, status, code):
    record = SimpleNamespace(
        state_type=SimpleNamespace(value="CANCELLED"), labels={"musetalk.ended_as": word}, state=None
    )
    assert status_of(record) == status
    error = error_of(status, word, {}, SimpleNamespace(message=TEXT))
    assert (error.code if error else None) == code
