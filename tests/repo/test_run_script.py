"""The `./run` script, without setting anything up."""

import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).resolve().parents[2] / "run"


def test_an_environment_whose_making_was_interrupted_is_made_anew(tmp_path):
    venv, programs = tmp_path / "venv", tmp_path / "bin"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    programs.mkdir()
    python = programs / "python3.11"
    python.write_text('#!/bin/sh\ncase "$1" in -m) echo "asked for: $*"; exit 3 ;; esac\n')
    python.chmod(0o755)

    env = os.environ | {"MUSETALK_VENV": str(venv), "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run([RUN, "setup"], env=env, capture_output=True, text=True, timeout=60)

    assert f"asked for: -m venv --clear {venv}" in done.stdout
