"""A stack that does not become ready says what was missing."""

import pytest
from other_ffmpeg import write_ffmpeg

from deployments.console import plain_wait_callback
from deployments.stack import supervisor as up
from deployments.stack.commands import StackPlan
from deployments.stack.supervisor import StackError, Supervisor
from musetalk_core.errors import EncodeError
from tasks.settings import get_settings


def test_a_start_that_takes_too_long_tells_what_the_api_found_wrong(server, runs, environment, monkeypatch):
    runs.fault = "the store does not answer"
    monkeypatch.setenv("MUSETALK_START__LIMIT_S", "0.2")
    get_settings.cache_clear()
    supervisor = Supervisor(StackPlan(get_settings()), print)

    with pytest.raises(StackError) as failure:
        supervisor._wait_while_progress(
            lambda: False, list, other_reasons=lambda: up._failed_checks(f"{server}/readyz")
        )

    lines = str(failure.value).splitlines()
    assert lines[0].startswith("The API was not ready within")
    assert "MUSETALK_START__LIMIT_S" in lines[0]
    assert "prefect: the store does not answer" in lines[1:]


def test_an_api_that_is_not_there_has_nothing_to_tell():
    assert up._failed_checks("http://127.0.0.1:9/readyz") == ""


def test_a_plain_log_says_now_and_then_what_is_waited_for():
    said = []
    show = plain_wait_callback(said.append)
    for second in range(200):
        show(second, "waiting for api")

    assert said == [f"waiting for api ({second} s)" for second in (5, 15, 30, 60, 120, 180)]


def test_an_ffmpeg_that_is_too_old_is_told_before_anything_starts(environment, tmp_path, monkeypatch):
    old = write_ffmpeg(tmp_path / "ffmpeg", "5.1.6-0+deb12u1")
    environment.setenv("MUSETALK_MEDIA__FFMPEG", str(old))
    get_settings.cache_clear()
    settings = get_settings()

    with pytest.raises(EncodeError, match=r"5\.1\.6-0\+deb12u1; version 6\.0 or later is required"):
        Supervisor(StackPlan(settings), print).start()

    assert not settings.home.exists()
