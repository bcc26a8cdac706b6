""".pre-commit-config.yaml and `./run check` run the same steps."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "run"
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >>"$ASKED"
[ "$(basename "$0") $*" != "$FAILS" ]
"""


def steps():
    """The steps that the script lists."""
    found = re.search(r"^steps=\(([^)]*)\)", RUN.read_text(), re.MULTILINE)
    assert found is not None
    return found[1].split()


@pytest.fixture
def checked(tmp_path):
    """Run `./run check` in an environment whose tools only note their arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python", "lint-imports", "typos"):
        (folder / name).write_text(TOOL)
        (folder / name).chmod(0o755)
    stamp = 'source <(sed -n "/^stamp()/,/^}/p" "$0"); here="${0%/*}"; stamp dev'
    made = subprocess.run(["bash", "-c", stamp, RUN], capture_output=True, text=True, check=True)
    (tmp_path / ".stamp-dev").write_text(made.stdout)

    def run(*arguments, fails=""):
        asked = tmp_path / "asked"
        asked.write_text("")
        env = os.environ | {"MUSETALK_VENV": str(tmp_path), "ASKED": str(asked), "FAILS": fails}
        done = subprocess.run([RUN, "check", *arguments], env=env, capture_output=True, text=True)
        return done, asked.read_text().splitlines()

    return run


def test_each_step_has_a_hook_and_each_hook_a_step():
    assert [repo["repo"] for repo in HOOKS] == ["local"]
    assert [hook["id"] for hook in HOOKS[0]["hooks"]] == steps()


@pytest.mark.parametrize("hook", HOOKS[0]["hooks"], ids=lambda hook: hook["id"])
def test_a_hook_runs_its_step_with_the_tools_of_the_environment(hook):
    assert hook["entry"] == f"./run check {hook['id']}"
    assert (hook["language"], hook["pass_filenames"]) == ("system", False)


def test_without_arguments_every_step_runs(checked):
    done, asked = checked()

    assert done.returncode == 0, done.stderr
    assert asked == [line for step in steps() for line in checked(step)[1]]
    assert len(set(asked)) == len(steps())


def test_a_failed_step_ends_the_check(checked):
    every = checked()[1]
    done, asked = checked(fails=every[1])

    assert done.returncode != 0
    assert asked == every[:2]


def test_an_unknown_step_is_refused_with_the_list(checked):
    done, asked = checked("pylint")

    assert (done.returncode, asked) == (2, [])
    assert all(step in done.stderr for step in ["pylint", *steps()])


def test_the_versions_are_in_constraints_only():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    for tool in ("ruff", "pyright", "import-linter", "typos"):
        assert any(re.match(rf"{tool}\b", need) for need in groups)
        assert sum(line.startswith(f"{tool}==") for line in pinned) == 1
    assert "rev:" not in (ROOT / ".pre-commit-config.yaml").read_text()
