"""Detection of progress in a starting process."""

import subprocess
import sys
import time

import pytest

from deployments.processes.launch import with_start_log
from deployments.processes.start_watch import ResourceUse, StartMonitor, process_tree_use
from tasks.settings import StartSettings

BURNS = "while True: pass"
READS = """
import time
while True:
    open('/dev/zero', 'rb').read(1 << 16)
    time.sleep(.05)
"""
SLEEPS = "import time; time.sleep(600)"
REPORTS = "import threading, time\nwhile True: open('/proc/self/statm').read(); time.sleep(.2)"


@pytest.fixture
def process():
    made = []

    def start(code):
        made.append(subprocess.Popen([sys.executable, "-S", "-c", code]))
        return made[-1].pid

    yield start
    for one in made:
        one.kill()
        one.wait()


def watched(pid, seconds, stall_s=1.5, limit_s=60.0):
    watch = StartMonitor(StartSettings(stall_s=stall_s, limit_s=limit_s))
    until = time.monotonic() + seconds
    while time.monotonic() < until and not watch.failure_reason():
        watch.update([pid])
        time.sleep(0.1)
    return watch.failure_reason()


@pytest.mark.parametrize("code", [BURNS, READS])
def test_a_process_that_works_is_waited_for(process, code):
    assert watched(process(code), 8, stall_s=3) is None


@pytest.mark.parametrize("code", [SLEEPS, REPORTS])
def test_one_that_does_nothing_is_not(process, code):
    pid = process(code)
    time.sleep(1)
    assert watched(pid, 30).startswith("made no progress for ")


def test_whatever_it_does_there_is_an_end(process):
    assert watched(process(BURNS), 30, stall_s=20, limit_s=2).startswith("was not ready within ")


def test_the_work_of_descendants_counts(process):
    burns = "import time\nwhile time.process_time() < 2: pass"
    pid = process(f"import os\nif not os.fork():\n    exec({burns!r})\n    os._exit(0)\nos.wait()\n{SLEEPS}")
    until = time.monotonic() + 60
    while process_tree_use(pid).cpu_s < 1.5:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_sign_of_the_callers_counts(process):
    pid = process(SLEEPS)
    watch = StartMonitor(StartSettings(stall_s=1.0))
    for number in range(20):
        watch.update([pid], number)
        time.sleep(0.1)
    assert watch.failure_reason() is None


def test_a_process_that_is_gone_has_done_nothing():
    assert process_tree_use(2**22 + 1) == ResourceUse()


def test_the_log_of_a_start_begins_before_the_imports(tmp_path):
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(600)")
    log = tmp_path / "log"
    command = with_start_log("the tool", [sys.executable, "-m", "slow_to_import", "--word"])
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=tmp_path)
    try:
        until = time.monotonic() + 60
        while "modules imported" not in log.read_text():
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert f"the-tool: process {process.pid} starts: importing slow_to_import" in log.read_text()


def test_a_launched_module_is_run_as_by_python_itself(tmp_path):
    (tmp_path / "tool.py").write_text(
        "import sys\nprint(__name__, sys.argv[1:], sys.argv[0].endswith('tool.py'))\nsys.exit(3)"
    )
    command = with_start_log("tool", [sys.executable, "-m", "tool", "-x", "y z"])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "__main__ ['-x', 'y z'] True\n")
