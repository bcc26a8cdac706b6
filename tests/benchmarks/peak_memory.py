"""Run a script in its own process and measure the peak memory of its process tree."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path


def run_measured(script, *arguments):
    """Run a script that prints JSON; return it with `tree_mb` added, the peak memory of its process tree."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak, is_done = [0.0], threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, is_done))
        watcher.start()
        printed, _ = process.communicate()
        is_done.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    return {**json.loads(printed.strip().splitlines()[-1]), "tree_mb": peak[0]}


def _watch(pid, peak, done):
    while not done.is_set():
        peak[0] = max(peak[0], process_tree_mb(pid))
        time.sleep(0.1)


def process_tree_mb(pid):
    """Return the resident memory in MB of a process and its descendants; shared pages count for each."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    total, pending = 0.0, [pid]
    while pending:
        process_id = pending.pop()
        pending += parents.get(process_id, [])
        try:
            total += int(Path("/proc", str(process_id), "statm").read_text().split()[1])
        except OSError:
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6
