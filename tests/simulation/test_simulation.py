"""The simulation finds faults that were planted on purpose, and finds none in the product as it is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PLANTED = sorted((Path(__file__).parent / "planted").glob("*.patch"))
PARTS = ("api", "flows", "tasks", "deployments", "musetalk_core", "tests/simulation", "prefect.yaml")
BUDGET_S = 60
"""CPU time within which each planted fault is found: the default of `./run simulate`."""
QUICK = "key_checked_before"
"""The planted fault of the quick tests."""


def simulate(folder, *arguments):
    command = [sys.executable, "-W", "ignore", folder / "tests/simulation/simulate.py", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def copy_with(patch, folder):
    """A copy of the sources with a planted fault."""
    for part in PARTS:
        source, target = REPOSITORY / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "assets", "data"))
        else:
            shutil.copy(source, target)
    subprocess.run(["git", "apply", patch], cwd=folder, check=True)
    return folder


def found_by(folder, *arguments):
    """The seed of a history in which a promise was broken."""
    played = simulate(folder, *arguments)
    assert played.returncode == 1, played.stdout + played.stderr
    return int(re.search(r"^Replay: ./run simulate --seed (\d+)$", played.stdout, re.MULTILINE)[1])


def test_each_fault_is_planted_in_a_place_of_its_own():
    places = {line for patch in PLANTED for line in patch.read_text().splitlines() if line.startswith("+++ ")}
    assert len(PLANTED) == len(places) == 11


@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: patch.stem)
def test_a_planted_patch_still_applies(patch):
    """If code has moved, move the fault with it."""
    checked = subprocess.run(
        ["git", "apply", "--check", patch], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_a_planted_fault_is_found_and_a_short_run_without_it_is_clean(tmp_path):
    seed = found_by(copy_with(Path(__file__).parent / f"planted/{QUICK}.patch", tmp_path), "--histories", 4)
    clean = simulate(REPOSITORY, "--first", seed, "--histories", 1)
    assert clean.returncode == 0, clean.stdout + clean.stderr


@pytest.mark.slow
@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: patch.stem)
def test_every_planted_fault_is_found_and_its_seed_replays(patch, tmp_path):
    folder = copy_with(patch, tmp_path)
    seed = found_by(folder, "--seconds", BUDGET_S)
    replays = [simulate(folder, "--seed", seed) for _ in range(2)]
    assert [one.returncode for one in replays] == [1, 1]
    assert replays[0].stdout == replays[1].stdout


@pytest.mark.slow
def test_no_promise_is_broken_within_the_budget():
    played = simulate(REPOSITORY, "--seconds", BUDGET_S, "--keep-going")
    assert played.returncode == 0, played.stdout + played.stderr
