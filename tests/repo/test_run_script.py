"""The `./run` script, without setting anything up: a made-up python only notes what it is asked for."""

import hashlib
import io
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

RUN = Path(__file__).resolve().parents[2] / "run"
PYTHON = """#!/bin/sh
[ "$1" = -m ] || exit 0
echo "begin $*" >>"$0.asked"; sleep 1; echo end >>"$0.asked"
exit 3
"""


@pytest.fixture
def python(tmp_path):
    """The made-up python, first on the PATH of `started`."""
    path = tmp_path / "bin" / "python3.11"
    path.parent.mkdir()
    path.write_text(PYTHON)
    path.chmod(0o755)
    return path


def started(python, venv):
    path = f"{python.parent}:{os.environ['PATH']}"
    return subprocess.Popen([RUN, "setup"], env=os.environ | {"MUSETALK_VENV": str(venv), "PATH": path})


def asked(python):
    return python.with_name("python3.11.asked").read_text().splitlines()


def test_an_environment_whose_making_was_interrupted_is_made_anew(tmp_path, python):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)

    assert started(python, venv).wait(60) == 3
    assert asked(python) == [f"begin -m venv --clear {venv}", "end"]


def test_two_at_once_do_not_write_into_one_environment(tmp_path, python):
    both = [started(python, tmp_path / "venv") for _ in range(2)]
    assert [run.wait(60) for run in both] == [3, 3]

    assert [line.split()[0] for line in asked(python)] == ["begin", "end", "begin", "end"]


WILLING = """#!/bin/sh
if [ "$2" = venv ]; then mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; exit; fi
[ "$1" = -m ] && echo "$*" >>"$0.asked"
exit 0
"""


@pytest.mark.parametrize("place", ["a terminal", "a log"])
def test_set_up_shows_one_line_per_step(tmp_path, python, place):
    python.write_text(WILLING)
    env = os.environ | {"MUSETALK_VENV": str(tmp_path / "v"), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    here, there = pty.openpty()
    done = subprocess.run(
        [RUN, "setup"], env=env, stdout=there if place == "a terminal" else subprocess.PIPE, check=True
    )
    os.close(there)
    shown = done.stdout or b""
    with suppress(OSError):  # the end of a pseudo-terminal
        while block := os.read(here, 100_000):
            shown += block
    os.close(here)

    asked = (tmp_path / "v" / "bin" / "python.asked").read_text().splitlines()
    assert len([line for line in asked if line.startswith("-m pip install ")]) == 2
    lines = [line.rpartition("\033[K")[2].strip() for line in shown.decode().split("\n")]
    assert "about 4 GB on disk" in lines[0]
    assert [line.partition(":")[0] for line in lines[1:4]] == [
        "creating the environment",
        "updating pip",
        "installing the packages",
    ]


SLOW = """#!/bin/sh
if [ "$2" = venv ]; then mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; exit; fi
[ "$2" = pip ] || exit 0
echo "Collecting torch"
echo "  Downloading torch-2.9.whl (888.1 MB)"
exec sleep 60
"""


def test_a_slow_set_up_tells_what_it_fetches_and_ctrl_c_says_how_to_continue(tmp_path, python):
    python.write_text(SLOW)
    env = os.environ | {"MUSETALK_VENV": str(tmp_path / "v"), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    with subprocess.Popen(
        [RUN, "setup"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        lines = [run.stdout.readline() for _ in range(3)]
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=30)

    assert lines[2].startswith("updating pip (") and "Downloading torch-2.9.whl (888.1 MB)" in lines[2]
    assert run.returncode == 130
    assert "Stopped while updating pip. Run the same command again" in err


BROKEN = """#!/bin/sh
if [ "$2" = venv ]; then mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; exit; fi
case "$*" in *"install --progress-bar=off -c"*) ;; *) exit 0 ;; esac
echo "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
exit 1
"""


def test_a_failed_set_up_names_the_step_the_cause_and_what_to_do(tmp_path, python):
    python.write_text(BROKEN)
    env = os.environ | {"MUSETALK_VENV": str(tmp_path / "v"), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    done = subprocess.run([RUN, "setup"], env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "installing the packages" in done.stderr and "No space left on device" in done.stderr
    assert "run the same command again" in done.stderr
    assert not list((tmp_path / "v").glob(".stamp-*"))


CONTENT = os.urandom(400_000)


class DroppingIndex(BaseHTTPRequestHandler):
    """A package index that drops the connection in the middle of the first download."""

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list[str]] = []

    def log_message(self, *_):
        """Log nothing."""

    def do_GET(self):
        wheel = self.server.wheel
        if self.path == "/simple/small/":
            digest = hashlib.sha256(wheel).hexdigest()
            name = "small-1.0-py3-none-any.whl"
            self.answer(200, f'<a href="/{name}#sha256={digest}">{name}</a>'.encode(), "text/html")
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.requests.append(self.headers.get("Range") or "whole")
        if len(self.requests) == 1:
            self.head(200, len(wheel), "application/octet-stream")
            self.wfile.write(wheel[: len(wheel) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.answer(206 if start else 200, wheel[start:], "application/octet-stream", start, len(wheel))

    def head(self, status, length, kind, start=0, total=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"one"')
        self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()

    def answer(self, status, body, kind, start=0, total=None):
        self.head(status, len(body), kind, start, total)
        self.wfile.write(body)


def small_wheel():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr("small/data.bin", CONTENT)
        wheel.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        wheel.writestr(
            "small-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("small-1.0.dist-info/RECORD", "")
    return buffer.getvalue()


def test_a_dropped_connection_is_continued_where_it_stopped(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), DroppingIndex)
    server.wheel = small_wheel()
    DroppingIndex.requests.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index = f"http://127.0.0.1:{server.server_port}/simple"
    log = tmp_path / "log"
    log.touch()
    code = f"source '{RUN}' help >/dev/null; setup_log='{log}'; python='{sys.executable}'; "
    code += f"pip_install 'installing small' --no-deps --no-cache-dir --index-url {index}"
    code += f" --target '{tmp_path}/there' small"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(["bash", "-c", code], env=env, capture_output=True, text=True, check=False)
    server.shutdown()
    server.server_close()

    assert done.returncode == 0, done.stderr + log.read_text()
    assert (tmp_path / "there" / "small" / "data.bin").read_bytes() == CONTENT
    assert DroppingIndex.requests[0] == "whole" and DroppingIndex.requests[1].startswith("bytes=")


TESTED = """#!/bin/sh
if [ "$2" = venv ]; then
  mkdir -p "$4/bin" && cp "$0" "$4/bin/python"
  cp /bin/true "$4/bin/lint-imports" && cp /bin/true "$4/bin/typos"
  exit
fi
case "$*" in *pip*) exit 0 ;; esac
echo "$*" >>"$0.asked"
case "$*" in *"$BAD"*) exit 1 ;; esac
"""
SUITE = str(RUN.parent / "tests/support/suite.py")
CHECKS = ["-m ruff format --check .", "-m ruff check ."]


@pytest.fixture
def tested(tmp_path, python):
    """Run `./run test` with a made-up python that fails for commands with a word."""
    python.write_text(TESTED)

    def run(*words, bad="none"):
        path = f"{python.parent}:{os.environ['PATH']}"
        env = os.environ | {"MUSETALK_VENV": str(tmp_path / "v"), "PATH": path, "BAD": bad}
        done = subprocess.run([RUN, "test", *words], env=env, capture_output=True, text=True)
        asked = (tmp_path / "v" / "bin" / "python.asked").read_text().splitlines()
        return done.returncode, [line for line in asked if line != "-c import pip"]

    return run


@pytest.mark.parametrize("bad", ["none", "suite.py"])
def test_the_suite_runs_after_the_checks_and_gives_the_status(tested, bad):
    status, asked = tested(bad=bad)

    assert asked[-3:] == [*CHECKS, SUITE]
    assert (status == 0) == (bad == "none")


def test_a_failed_check_ends_it_before_the_tests(tested):
    status, asked = tested(bad="ruff check")

    assert status != 0 and asked[-1] == "-m ruff check ."


def test_tests_that_are_named_run_alone(tested):
    _, asked = tested("tests/one.py")

    assert asked[-2:] == ["-m pyright", "-m pytest -m not slow tests/one.py"]
