"""Workers that end are started again by the supervisor: at once, and later and later if they go on ending."""

import sys

import pytest

from deployments.processes.process import ManagedProcess
from deployments.stack import supervisor as up
from deployments.stack.commands import StackPlan
from deployments.stack.supervisor import StackError, Supervisor
from tasks.settings import Settings


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(up, "time", clock)
    return clock


@pytest.fixture
def supervisor(tmp_path):
    made = Supervisor(StackPlan(Settings(home=tmp_path)), said.append)
    made.plan.working_directory.mkdir(parents=True)
    said.clear()
    yield made
    made.stop()


said: list[str] = []


def worker(supervisor, clock, tmp_path):
    """A worker whose process ends at once; the clock says how long it lived."""
    child = ManagedProcess("worker-gpu", [sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path)
    supervisor._workers.append(child)
    supervisor._processes.append(child)
    return child


def ends(supervisor, clock, child, lived_s):
    """Start it where it is due, let it end after some time, and give how long it then stays away."""
    child.start(cwd=supervisor.plan.working_directory)
    child._process.wait()
    child.started_at = clock.now
    clock.now += lived_s
    began, starts = clock.now, child.started_at
    for _ in range(1000):
        supervisor.check()
        if child.started_at != starts:
            child._process.wait()
            child.started_at = clock.now
            return clock.now - began
        clock.now += 0.5
    raise AssertionError("it was not started again")


def test_a_worker_that_goes_on_ending_is_started_again_later_and_later(supervisor, clock, tmp_path):
    child = worker(supervisor, clock, tmp_path)

    assert [ends(supervisor, clock, child, 20.0) for _ in range(5)] == [0, 5, 15, 60, 60]
    assert "exited with status 3 and is restarted now." in said[0]
    assert "is restarted in 60 s." in said[-1]


def test_one_that_ran_for_long_is_started_again_at_once(supervisor, clock, tmp_path):
    child = worker(supervisor, clock, tmp_path)

    assert [ends(supervisor, clock, child, lived) for lived in (20.0, 20.0, 400.0, 20.0)] == [0, 5, 0, 5]


def test_one_that_ends_as_soon_as_it_starts_ends_the_stack(supervisor, clock, tmp_path):
    child = worker(supervisor, clock, tmp_path)

    with pytest.raises(StackError, match="worker-gpu exited with status 3"):
        ends(supervisor, clock, child, 5.0)
