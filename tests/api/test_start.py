"""A stack that does not become ready says what was missing."""

import pytest

from deployments import up
from deployments.stack import Plan
from deployments.up import StackError, Supervisor
from tasks.settings import get_settings


def test_a_start_that_takes_too_long_tells_what_the_api_found_wrong(server, runs, environment, monkeypatch):
    runs.fault = "the store does not answer"
    monkeypatch.setattr(up, "START_LIMIT_S", 0.2)
    supervisor = Supervisor(Plan(get_settings()), print)

    with pytest.raises(StackError) as failure:
        supervisor._wait(lambda: False, why=lambda: up._trouble(f"{server}/readyz"))

    lines = str(failure.value).splitlines()
    assert lines[0].startswith("The stack was not ready within")
    assert "prefect: the store does not answer" in lines[1:]


def test_an_api_that_is_not_there_has_nothing_to_tell():
    assert up._trouble("http://127.0.0.1:9/readyz") == ""
