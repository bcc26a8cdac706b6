"""The `./run` script, without setting anything up: a made-up python only notes what it is asked for."""

import os
import pty
import subprocess
import sys
from pathlib import Path

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
def test_a_terminal_sees_the_installation_and_a_log_stays_short(tmp_path, python, place):
    python.write_text(WILLING)
    env = os.environ | {"MUSETALK_VENV": str(tmp_path / "v"), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    here, there = pty.openpty()
    subprocess.run([RUN, "setup"], env=env, stdout=there if place == "a terminal" else None, check=True)
    os.close(here)
    os.close(there)

    asked = (tmp_path / "v" / "bin" / "python.asked").read_text().splitlines()
    installs = [line.split() for line in asked if line.startswith("-m pip install ")]
    assert len(installs) == 3
    for words in installs:
        assert ("--quiet" in words) == (place == "a log")


TESTED = """#!/bin/sh
if [ "$2" = venv ]; then
  mkdir -p "$4/bin" && cp "$0" "$4/bin/python"
  cp /bin/true "$4/bin/lint-imports" && cp /bin/true "$4/bin/typos"
  exit
fi
case "$2 $3" in pytest* | "pyright ") ;; *) exit 0 ;; esac
echo "$*" >>"$0.asked"
echo "did $*"
for bad in $BAD; do
  case "$*" in *"$bad"*) echo "FAILED $bad/test_it.py::test_one"; exit 1 ;; esac
done
exit 0
"""


@pytest.fixture
def suite(tmp_path, python):
    """Run `./run test` with a made-up pytest that fails on the folders that are named."""
    python.write_text(TESTED)

    def run(*words, bad=()):
        env = os.environ | {
            "MUSETALK_VENV": str(tmp_path / "v"),
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "BAD": " ".join(bad),
        }
        done = subprocess.run([RUN, "test", *words], env=env, capture_output=True, text=True)
        log = tmp_path / "v" / "bin" / "python.asked"
        asked = log.read_text().splitlines()
        log.unlink()
        return done, asked

    return run


@pytest.mark.parametrize("bad", [(), ("tests/flow",), ("tests/warm", "tests/repo"), ("pyright",)])
def test_every_part_of_the_suite_runs_and_what_failed_is_named_last(suite, bad):
    done, asked = suite(bad=bad)

    assert (done.returncode == 0) == (not bad)
    assert all(f"did {part}" in done.stdout for part in asked)
    last = done.stdout.partition("## Failed:")[2]
    assert [name for name in bad if f"FAILED {name}/test_it.py::test_one" not in last] == []
    assert last.count("FAILED") == len(bad)


def test_the_parts_of_the_suite_are_all_tests_each_once(suite):
    _, asked = suite()

    parts = [line.removeprefix("-m pytest -m not slow ").split() for line in asked if "pytest" in line]
    folders = [RUN.parent / folder for part in parts for folder in part]
    tests = {path for path in RUN.parent.glob("tests/**/test_*.py")}
    found = [path for folder in folders for path in folder.glob("**/test_*.py")]
    assert len(found) == len(set(found)) and set(found) == tests
    assert asked.count("-m pyright") == 1


def test_tests_that_are_named_run_alone(suite):
    _, asked = suite("tests/one.py")

    assert asked == ["-m pyright", "-m pytest -m not slow tests/one.py"]
