"""A worker that is asked to go: it finishes what runs, or hands it back."""

import signal
import subprocess
import time

import pytest
from stage import eventually

pytestmark = pytest.mark.stack


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_sigterm_finishes_what_runs_and_takes_nothing_more(pool, workers, tmp_path):
    worker = workers(pool, tmp_path)
    running = pool.submit("nap", seconds=4.0)
    pool.wait_running(running)
    waiting = pool.submit("empty")
    worker.signal()
    assert worker.process.wait(30) == 0
    assert pool.state(running).type.value == "COMPLETED"
    assert pool.state(waiting).type.value == "SCHEDULED"
    assert "Traceback" not in worker.text()


def test_a_second_sigterm_hands_the_run_to_the_next_worker(pool, workers, tmp_path):
    worker = workers(pool, tmp_path)
    path = tmp_path / "written"
    run = pool.submit("write", path=str(path), seconds=6.0)
    pool.wait_running(run)
    began = time.monotonic()
    worker.signal()
    eventually(lambda: "Draining" in worker.text(), 5)
    worker.signal()
    assert worker.process.wait(20) == 0 and time.monotonic() - began < 10
    assert pool.state(run).name == "Rescheduled"
    workers(pool, tmp_path)
    assert pool.wait(run).type.value == "COMPLETED"
    assert len(lines(path)) == 1
    assert pool.names(run).count("Running") == 2


def test_an_idle_worker_leaves_at_once(pool, workers, tmp_path):
    worker = workers(pool, tmp_path, limit=2)
    began = time.monotonic()
    worker.signal(signal.SIGINT)
    assert worker.process.wait(20) == 0 and time.monotonic() - began < 10
    assert not list(tmp_path.glob("**/warm-*"))


@pytest.mark.slow
def test_it_starts_when_a_shell_had_interrupts_ignored(pool, workers, tmp_path):
    """A script's `cmd &` ignores SIGINT, and with it a stock worker ignores SIGTERM."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        worker = workers(pool, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    worker.signal()
    try:
        assert worker.process.wait(20) == 0
    except subprocess.TimeoutExpired:
        pytest.fail("SIGTERM did nothing")
