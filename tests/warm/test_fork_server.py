"""A forked process is what `subprocess` would have started: parent, words, environment, files and status."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fork_server import popen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")

FACTS = """
import json, os, sys, tempfile
from prefect.settings import PREFECT_API_URL
print(json.dumps({
    "arguments": sys.argv,
    "command": open("/proc/self/cmdline").read().rstrip(chr(0)).split(chr(0))[1:],
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "parent": os.getppid(),
    "leads": os.getsid(0) == os.getpid(),
    "files": sorted(name for name in os.listdir("/proc/self/fd"))[:3],
    "temporary": tempfile.gettempdir(),
    "path": [entry for entry in sys.path if "elsewhere" in entry],
    "server": PREFECT_API_URL.value(),
}))
print(sys.stdin.read(), file=sys.stderr)
sys.exit(3)
"""


def told(start, folder):
    environment = os.environ | {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PYTHONPATH": "/elsewhere",
        "TMPDIR": str(folder),
    }
    process = start(
        [sys.executable, "-c", FACTS, "one", "two"],
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out, err = process.communicate("said", timeout=120)
    return json.loads(out), err, process.returncode


def test_it_is_told_and_tells_what_any_other_does(tmp_path):
    forked, plain = told(popen, tmp_path), told(subprocess.Popen, tmp_path)

    assert forked == plain
    assert forked[0]["parent"] == os.getpid() and forked[0]["leads"] and forked[2] == 3


def test_a_signal_ends_it_and_is_its_exit_status():
    process = popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=-1)
    assert process.stdout.readline() == b"1\n"
    assert b"time.sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes()

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == -signal.SIGTERM
    process.stdout.close()
