"""The demo on a made-up job system: what it says while it works, and that it can be stopped at any moment."""

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from api.client import MusetalkClient
from deployments.demo import demo, quality, report
from deployments.stack.commands import StackPlan
from deployments.stack.home_lock import RunningStack
from deployments.stack.supervisor import StackStopRequested
from flows.prefect_state.status import Progress
from tasks.settings import get_settings


@pytest.fixture
def wishes(tmp_path):
    """The caller's own video and speech."""
    for name in ("anna.mp4", "hello.wav"):
        (tmp_path / name).write_bytes(b"media")
    return demo.DemoOptions(video=tmp_path / "anna.mp4", audio=tmp_path / "hello.wav", out=tmp_path / "out")


@pytest.fixture
def on_server(server, monkeypatch):
    """The stack of the demo's home is the made-up one."""
    monkeypatch.setattr(demo, "find_running_stack", lambda _: RunningStack(1, server, "http://prefect"))
    monkeypatch.setattr(quality, "recognize_phones", lambda *_: [])
    monkeypatch.setattr(report, "report_lines", lambda film: [f"{film.title}: good"])


def rendered_in_three_looks(runs, finish):
    """Let a job run for two looks of its caller and end at the third."""
    looks = []

    async def read(job_id):
        looks.append(job_id)
        run = runs.jobs[job_id]
        if len(looks) < 3:
            done = 30 * len(looks)
            return replace(run, status="running", progress=Progress(40.0 + done / 2, "render", done, 100))
        runs.jobs[job_id] = run if run.status == "succeeded" else finish(run)
        return runs.jobs[job_id]

    runs.read = read


def demo_output(wishes, is_terminal):
    out = Console(file=StringIO(), force_terminal=is_terminal, width=100, highlight=False, soft_wrap=True)
    demo.run_demo(StackPlan(get_settings()), wishes, out)
    return out.file.getvalue()


def test_a_plain_log_tells_how_far_the_jobs_are(on_server, runs, finish, wishes):
    rendered_in_three_looks(runs, finish)

    said = demo_output(wishes, is_terminal=False).splitlines()

    wanted = [
        "recognizing the speech",
        "lip sync: render 30/100 55 %",
        "lip sync: render 60/100 70 %",
        "lip sync: succeeded 100 %",
        "measuring lip_sync",
        "lip_sync: good",
    ]
    assert [line for line in said if line in wanted] == wanted


def test_a_terminal_gets_a_bar(on_server, runs, finish, wishes):
    rendered_in_three_looks(runs, finish)

    said = demo_output(wishes, is_terminal=True)

    assert "lip sync: render" in said and "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in said and "100%" in said


@pytest.mark.parametrize("moment", ["listening", "measuring"])
def test_it_stops_at_once_while_it_works_itself(server, runs, finish, wishes, monkeypatch, moment):
    rendered_in_three_looks(runs, finish)
    working, never = threading.Event(), threading.Event()

    def work(*_):
        working.set()
        never.wait(30)
        return []

    def look():
        if working.is_set():
            raise StackStopRequested

    @contextmanager
    def stack(_plan, _keep, out):
        yield demo._DemoSession(MusetalkClient(server), look, out), "http://prefect", lambda: None

    monkeypatch.setattr(demo, "_running_stack_session", stack)
    monkeypatch.setattr(quality, "recognize_phones", work if moment == "listening" else lambda *_: [])
    monkeypatch.setattr(report, "report_lines", work)

    began = time.monotonic()
    with pytest.raises(StackStopRequested):
        demo_output(wishes, is_terminal=False)
    never.set()

    assert time.monotonic() - began < 10
