"""
Run pyright and the quick tests, some groups at a time, and list what failed at the end.

A process that tests flows imports for 20 seconds of CPU time. So this process imports once, and each group of
tests is a fork of it with pytest, its own Prefect servers, and a fork server for what its tests start. Only
Linux forks; elsewhere, and with MUSETALK_TEST_FORKS=0, each group is a process of its own.
"""

import gc
import glob
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path

import fork_server
import made_once
from process_environment import set_environment

REPOSITORY = Path(__file__).resolve().parents[2]
LANES = 3
"""Three on two cores: the tests of workers wait half of their time, for leases, retries and polls."""
STOP_S = 20
"""How long groups may take to end after a signal."""
PYRIGHT = "pyright"
GROUPS = (
    PYRIGHT,  # first: it needs none of the imports
    "tests/flow/test_[m-q]*.py",
    "tests/flow/test_[r-z]*.py",
    "tests/unit/musetalk_core/[a-m]*/ tests/golden",
    "tests/warm/test_[o-z]*.py",
    "tests/flow/test_[a-l]*.py",
    "tests/warm/test_[a-n]*.py",
    "tests/api",
    "tests/unit/musetalk_core/[n-z]*/ tests/unit/musetalk_core/test_*.py",
    "tests/unit/deployments tests/unit/flows tests/unit/tasks",
    "tests/e2e",
    "tests/repo tests/benchmarks tests/simulation",
)
"""The longest come first. Long folders are several groups, by the first letter of a file."""
IMPORTS = (
    *fork_server.IMPORTS,
    "boto3",
    "diffusers.models.autoencoders.autoencoder_kl",
    "flows.analyze",
    "flows.portrait",
    "flows.transcribe",
    "musetalk_core.engines.musetalk.model_loaders",
    "torch",
    "transformers",
)


class Suite:
    """Groups that wait, and those that run, by process id."""

    def __init__(self, groups: list[str], logs: Path) -> None:
        self.waiting, self.logs = deque(groups), logs
        self.running: dict[int, tuple[str, Path, float]] = {}
        self.failed: list[tuple[str, Path]] = []
        self.has_imports = False

    def run(self) -> list[str] | None:
        """Run everything and return None; returns the words of pytest in each process that is to run it."""
        while self.waiting or self.running:
            while self.waiting and len(self.running) < LANES:
                if words := self._start(self.waiting.popleft()):
                    return words
            pid, status, used = os.wait4(-1, 0)
            if pid in self.running:
                self._show_ended(pid, status, used.ru_utime + used.ru_stime)
        return None

    def _start(self, group: str) -> list[str] | None:
        log = self.logs / f"{len(self.waiting)}.log"
        words = ["-m", "not slow", *(path for pattern in group.split() for path in find(pattern))]
        with log.open("wb") as out:
            if group == PYRIGHT or not can_fork():
                command = [sys.executable, "-m", *([PYRIGHT] if group == PYRIGHT else ["pytest", *words])]
                pid = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out).pid
            else:
                self._import_all()
                if not (pid := os.fork()):
                    redirect(out.fileno())
                    self.running.clear()
                    return words
        self.running[pid] = group, log, time.monotonic()
        return None

    def _import_all(self) -> None:
        if self.has_imports:
            return
        set_environment()
        shared = self.logs / "shared"
        shared.mkdir()
        os.environ[made_once.VARIABLE] = str(shared)
        for name in IMPORTS:
            importlib.import_module(name)
        threads = list(Path("/proc/self/task").iterdir())
        assert len(threads) == 1, "a fork has no threads of its parent, for which a library would wait"
        gc.collect()
        gc.freeze()
        self.has_imports = True

    def _show_ended(self, pid: int, status: int, cpu_s: float) -> None:
        group, log, started = self.running.pop(pid)
        print(f"## {group}: {time.monotonic() - started:.0f} s, {cpu_s:.0f} s of CPU time")
        print(log.read_text(errors="replace"), flush=True)
        if status:
            self.failed.append((group, log))

    def stop(self) -> None:
        """End what runs as Ctrl-C does, so that pytest stops its servers; kill what does not end."""
        for pid in self.running:
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_S
        while self.running and time.monotonic() < deadline:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            self.running.pop(pid, None)
            time.sleep(0.05)
        for pid in self.running:
            os.kill(pid, signal.SIGKILL)

    def show_failed(self) -> None:
        """Show the last lines that say what failed, by group."""
        print("## Failed:")
        for group, log in self.failed:
            lines = log.read_text(errors="replace").splitlines()
            found = [line for line in lines if re.match(r"(FAILED|ERROR) |  .*error: ", line)]
            print("\n".join([group, *(found or lines[-5:])]), flush=True)


def find(pattern: str) -> list[str]:
    """Paths that a pattern below the repository stands for, in order."""
    return sorted(glob.glob(pattern, root_dir=REPOSITORY))  # noqa: PTH207  Path.glob takes no absolute pattern


def can_fork() -> bool:
    return sys.platform == "linux" and os.environ.get("MUSETALK_TEST_FORKS") != "0"


def redirect(out: int) -> None:
    """Have this process read nothing and write to a file."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)


def run_tests(words: list[str]) -> object:
    """Run pytest in this forked process, or what its tests have ordered, in a fork of that."""
    if forked := fork_server.serve_own_forks():
        return fork_server.run(forked)
    import pytest

    return pytest.main(words)


def main() -> int:
    """Return the exit status of this process: that of all groups, of one or of what its tests start."""
    os.chdir(REPOSITORY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logs = Path(tempfile.mkdtemp(prefix="suite-"))
    suite = Suite([word for word in sys.argv[1:] if word.strip()] or list(GROUPS), logs)
    words = None
    try:
        words = suite.run()
        if suite.failed:
            suite.show_failed()
    except KeyboardInterrupt:
        return 130
    finally:
        if words is None:
            suite.stop()
            shutil.rmtree(logs)
    if words is not None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.path[0] = str(REPOSITORY)
        fork_server.leave(partial(run_tests, words))
    return int(bool(suite.failed))


if __name__ == "__main__":
    if fork_server.ROOM not in sys.argv:
        os.execv(sys.executable, [sys.executable, __file__, *sys.argv[1:], fork_server.ROOM])
    fork_server.leave(main)
