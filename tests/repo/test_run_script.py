"""The `./run` script, without setting anything up: a made-up python only notes what it is asked for."""

import os
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
