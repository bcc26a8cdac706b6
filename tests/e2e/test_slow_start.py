"""A slow machine is waited for; a process that hangs is reported by name, with its log."""

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest
from whole_stack import free_port

from deployments.processes.process import ManagedProcess
from deployments.stack import commands, supervisor
from deployments.stack.supervisor import StackError, Supervisor
from tasks.settings import Settings

pytestmark = pytest.mark.stack

SLOW = """
import http.server, json, sys, time
print('opening what there is', flush=True)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    open('/dev/zero', 'rb').read(1 << 20)
    time.sleep(.1)
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({'checks': {}}).encode())
    def log_message(self, *_):
        pass
if sys.argv[2] != '0':
    http.server.HTTPServer(('127.0.0.1', int(sys.argv[2])), Answers).serve_forever()
"""
HANGS = "import time; print('opening the database', flush=True); time.sleep(600)"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MUSETALK_API__PORT", str(free_port()))
    monkeypatch.setenv("MUSETALK_START__STALL_S", "3")
    monkeypatch.setattr(
        supervisor, "START_LIMIT_S", 3.0, raising=False
    )  # 7aa3210: a thirtieth of what it was
    with contextlib.suppress(Exception):
        return supervisor.StackPlan(Settings(), free_port())
    monkeypatch.delenv("MUSETALK_START__STALL_S")  # 7aa3210 knows no such setting
    return supervisor.StackPlan(Settings(), free_port())


@pytest.fixture
def processes(plan, monkeypatch):
    """Small commands in the place of the stack's own, by name: what each runs."""
    made = {
        "prefect": [SLOW, "5", str(plan.prefect_port)],
        "deploy": [SLOW, "5", "0"],
        "worker-gpu": [SLOW, "5", str(free_port())],
        "api": [SLOW, "5", str(plan.settings.api.port)],
    }

    def child(name):
        return lambda plan, env: ManagedProcess(
            name, [sys.executable, "-c", *made[name]], env, plan.settings.logs
        )

    for place, name in (
        ("prefect_server_process", "prefect"),
        ("deploy_process", "deploy"),
        ("api_process", "api"),
    ):
        monkeypatch.setattr(commands, place, child(name))
    monkeypatch.setattr(commands, "worker_processes", lambda plan, env: [child("worker-gpu")(plan, env)])
    return made


def test_processes_that_are_slow_and_at_work_are_waited_for(plan, processes):
    said = []
    processes["prefect"][1] = "8"
    with Supervisor(plan, said.append):
        pass

    assert said[-1].startswith("ready after ")
    assert any("waiting for prefect" in line and "opening what there is" in line for line in said)


@pytest.mark.parametrize("name", ["prefect", "deploy", "api"])
def test_one_that_hangs_is_named_with_its_log(plan, processes, name):
    processes[name] = [HANGS]
    began = time.monotonic()
    with pytest.raises(StackError) as failure, Supervisor(plan, print):
        pass

    text = str(failure.value)
    assert text.startswith(f"{name} (process ") and "made no progress for" in text.splitlines()[0]
    assert "opening the database" in text and str(plan.settings.logs / f"{name}.log") in text
    assert "musetalk doctor" in text
    assert time.monotonic() - began < 120


SITE = """
import os, sys, time
GUARD = 'deployments.processes.guard'
if 'RENDER_STACK_ID' in os.environ and not any(GUARD in word for word in sys.orig_argv):
    import importlib.abc
    class Slow(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name.startswith(('prefect', 'sqlalchemy', 'fastapi', 'flows')):
                time.sleep(0.03)
    sys.meta_path.insert(0, Slow())
"""


@pytest.mark.slow
def test_the_stack_itself_comes_up_where_every_import_takes_long(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MUSETALK_API__PORT", str(free_port()))
    monkeypatch.setattr(supervisor, "START_LIMIT_S", 15.0, raising=False)
    said, settings = [], Settings()
    with Supervisor(supervisor.StackPlan(settings, free_port()), said.append):
        logs = {log.name: log.read_text() for log in Path(settings.logs).iterdir()}

    assert said[-1].startswith("ready after ")
    assert any(line.startswith("waiting for prefect (process ") for line in said)
    for name in ("prefect", "deploy", "worker-gpu", "worker-light", "api"):
        first = logs[f"{name}.log"].splitlines()[0]
        assert f"{name}: process " in first and "starts: importing " in first
