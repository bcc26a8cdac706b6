"""Processes a supervisor owns end for certain, whatever they do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from deployments.processes.guard import MARKER_VARIABLE, find_marked_processes, terminate_marked_processes
from deployments.processes.process import Guard, ManagedProcess
from deployments.stack.home_lock import HomeLock, find_running_stack

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, 1); time.sleep(60)'],
                 start_new_session=True)
print('up', flush=True)
time.sleep(60)
"""


@pytest.fixture
def marker():
    value = uuid4().hex
    yield value
    terminate_marked_processes(value, grace_s=0)


def child(tmp_path: Path, code: str, marker: str) -> ManagedProcess:
    made = ManagedProcess(
        "tool", [sys.executable, "-c", code], {**os.environ, MARKER_VARIABLE: marker}, tmp_path
    )
    made.start(cwd=tmp_path)
    return made


def until(condition, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def test_a_child_that_ends_by_itself_is_asked_only(tmp_path, marker):
    tool = child(tmp_path, "import time; print('up', flush=True); time.sleep(60)", marker)
    until(lambda: "up" in tool.log_tail())

    began = time.monotonic()
    tool.stop(grace_s=20)

    assert tool.exit_status == -signal.SIGTERM
    assert time.monotonic() - began < 5


def test_a_child_that_ignores_sigterm_is_killed_with_its_descendants(tmp_path, marker):
    tool = child(tmp_path, STUBBORN, marker)
    until(lambda: "up" in tool.log_tail())
    assert len(find_marked_processes(marker)) == 2

    tool.stop(grace_s=0.2)
    assert tool.exit_status == -signal.SIGKILL
    terminate_marked_processes(marker, grace_s=0.2)

    assert find_marked_processes(marker) == []


def test_the_guard_ends_everything_when_its_supervisor_is_killed(tmp_path, marker):
    code = f"""
import os, sys, time
from pathlib import Path
from deployments.processes.process import Guard, ManagedProcess
guard = Guard({marker!r})
tool = ManagedProcess('tool', [sys.executable, '-c', 'import time; time.sleep(60)'],
                      {{**os.environ, {MARKER_VARIABLE!r}: {marker!r}}}, Path({str(tmp_path)!r}))
tool.start(cwd=Path('/'))
print('up', flush=True)
time.sleep(60)
"""
    supervisor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    supervisor.stdout.readline()
    assert len(find_marked_processes(marker)) == 1

    supervisor.kill()
    supervisor.wait()

    until(lambda: find_marked_processes(marker) == [])


def test_a_guard_goes_away_after_its_sweep(marker):
    guard = Guard(marker)

    guard.terminate_stack(grace_s=0.1)

    assert guard._process.returncode == 0


def test_children_start_with_the_default_reaction_to_sigint(tmp_path, marker):
    # a Prefect worker turns SIGTERM into SIGINT for itself: one that ignores SIGINT could not be stopped
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        tool = child(
            tmp_path,
            "import signal; print(signal.getsignal(2) is signal.default_int_handler, flush=True)",
            marker,
        )
    finally:
        signal.signal(signal.SIGINT, before)

    until(lambda: tool.exit_status == 0)
    assert tool.log_tail() == "True"


def test_the_last_log_is_kept_beside_the_new_one(tmp_path, marker):
    for word in ("first", "second"):
        tool = child(tmp_path, f"print({word!r})", marker)
        until(lambda tool=tool: tool.exit_status == 0)

    assert (tmp_path / "tool.log").read_text() == "second\n"
    assert (tmp_path / "tool.log.1").read_text() == "first\n"


def test_a_home_has_one_stack(tmp_path):
    first, second = HomeLock(tmp_path), HomeLock(tmp_path)

    assert first.acquire() and not second.acquire()
    first.publish_addresses("http://127.0.0.1:1", "http://127.0.0.1:2")
    here = find_running_stack(tmp_path)
    assert here is not None
    assert (here.pid, here.api_url, here.prefect_url) == (
        os.getpid(),
        "http://127.0.0.1:1",
        "http://127.0.0.1:2",
    )
    first.release()

    assert find_running_stack(tmp_path) is None and second.acquire()


def test_a_note_without_a_living_stack_is_not_believed(tmp_path):
    lock = HomeLock(tmp_path)
    lock.acquire()
    lock.publish_addresses("http://127.0.0.1:1", "http://127.0.0.1:2")
    note = (tmp_path / "up.json").read_text()
    lock.release()
    (tmp_path / "up.json").write_text(note)

    assert find_running_stack(tmp_path) is None
