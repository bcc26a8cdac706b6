"""The program that runs the quick tests in groups: all of them, what failed last, and the end on request."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import made_once
import pytest
import suite
from at_once import run_at_once

RUNNER = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import suite
suite.IMPORTS = ()
suite.fork_server.leave(suite.main)
"""
GOOD = "def test_one():\n    assert True\n"
BAD = "def test_two():\n    print('shown')\n    assert False\n"
ENDLESS = """import os, time
def test_three():
    open(os.environ["BEGUN"], "w").write(str(os.getpid()))
    time.sleep(60)
"""


def start(*groups, forks, **variables):
    """The program with groups of its own, and without the imports, which take 20 seconds."""
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, Path(suite.__file__).parent, *map(str, groups)],
        env=os.environ | {"MUSETALK_TEST_FORKS": "1" if forks else "0"} | variables,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def group(tmp_path):
    """A function that writes a file of tests into a folder of its own."""

    def write(name, text):
        path = tmp_path / name / f"test_{name}.py"
        path.parent.mkdir()
        path.write_text(text)
        return path.parent

    return write


@pytest.mark.parametrize("forks", [True, False], ids=["forked", "started"])
def test_every_group_runs_and_what_failed_is_named_last(group, forks):
    good, bad = group("good", GOOD), group("bad", BAD)

    process = start(good, bad, forks=forks)
    out, _ = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "1 passed" in out and "shown" in out
    last = out.partition("## Failed:\n")[2].splitlines()
    assert last[0] == str(bad)
    assert [line.split(" - ")[0].rpartition("/")[2] for line in last[1:]] == ["test_bad.py::test_two"]


def test_groups_that_pass_are_a_success(group):
    process = start(group("good", GOOD), forks=True)
    out, _ = process.communicate(timeout=120)

    assert process.returncode == 0 and "Failed" not in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_groups_too(group, tmp_path, number):
    begun = tmp_path / "begun"
    process = start(group("endless", ENDLESS), forks=True, BEGUN=str(begun))
    while not begun.exists() or not begun.read_text():
        assert process.poll() is None
        time.sleep(0.05)

    process.send_signal(number)
    assert process.wait(30) == 128 + number
    deadline = time.monotonic() + 30
    while Path(f"/proc/{begun.read_text()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_groups_are_all_tests_each_once():
    named = [
        suite.REPOSITORY / path for one in suite.GROUPS for word in one.split() for path in suite.find(word)
    ]
    tests = set(suite.REPOSITORY.glob("tests/**/test_*.py"))
    found = [path for one in named for path in ([one] if one.is_file() else one.glob("**/test_*.py"))]

    assert len(found) == len(set(found)) and set(found) == tests
    assert suite.GROUPS.count("pyright") == 1


SHARING = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from made_once import made_once

def make(folder):
    time.sleep(0.2)
    (folder / "maker").write_text(str(os.getpid()))

print("ready", flush=True)
sys.stdin.readline()
print((made_once("thing", make) / "maker").read_text())
"""


def test_a_folder_that_groups_share_is_filled_by_one_of_them(tmp_path):
    environment = os.environ | {made_once.VARIABLE: str(tmp_path)}

    makers = run_at_once(SHARING, [(str(Path(suite.__file__).parent),)] * 4, environment, 60)

    assert len(set(makers)) == 1
    assert not list(tmp_path.glob("*.draft"))
