"""Run a script in its own process and measure the peak memory of its process tree."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path


def measured(script, *arguments):
    """Run a script that prints JSON; return it with `tree_mb` added, the peak memory of its process tree."""
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
    """Return the resident memory in MB of a process and its descendants; shared pages count for each."""
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
