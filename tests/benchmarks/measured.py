"""Run a function in a process of its own and watch the memory of its whole process tree."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path


def measured(script, *arguments):
    """Run a script that prints JSON; returns that, with `tree_mb`, the peak of its process tree, added."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak, done = [0.0], threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
        watcher.start()
        printed, _ = process.communicate()
        done.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    return {**json.loads(printed.strip().splitlines()[-1]), "tree_mb": peak[0]}


def _watch(pid, peak, done):
    while not done.is_set():
        peak[0] = max(peak[0], tree_mb(pid))
        time.sleep(0.1)


def tree_mb(pid):
    """Resident memory of a process and all below it; pages that several share count for each."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    total, waiting = 0.0, [pid]
    while waiting:
        one = waiting.pop()
        waiting += parents.get(one, [])
        try:
            total += int(Path("/proc", str(one), "statm").read_text().split()[1])
        except OSError:
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6
