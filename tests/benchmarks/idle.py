"""CPU time of `musetalk up`: until ready, on a new and on an existing home folder, and while idle."""

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from figures import record
from load import stack

SETTLE_S, IDLE_S = 60.0, 120.0
_TICKS = os.sysconf("SC_CLK_TCK")


def main(settle_s=SETTLE_S, idle_s=IDLE_S):
    """Print and return the CPU seconds of two starts and of an idle stack."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        home.mkdir()
        os.environ["MUSETALK_HOME"] = str(home)  # by which its processes are found
        first_s = start(home)
        idle = []
        again_s = start(home, then=lambda: idle.extend(measure_idle(home, settle_s, idle_s)))
    used_s, waited_s = idle
    share = 100 * used_s / waited_s
    print(
        f"until ready: {first_s:.1f} s of CPU time on a new home folder, {again_s:.1f} s on an existing one"
    )
    print(f"idle: {used_s:.2f} s of CPU time in {waited_s:.0f} s, {share:.1f} % of a core (bar: 3)")
    record(start_new_cpu_s=first_s, start_again_cpu_s=again_s, idle_percent=share)
    return first_s, again_s, share


def start(home, then=lambda: None):
    """Run a stack, and a function once it is ready; return the CPU seconds of all processes until then."""
    with stack(home):
        used = sum(cpu_seconds(home).values())
        then()
    return used


def measure_idle(home, settle_s, idle_s):
    """Return CPU seconds and seconds of an idle stack, after it has settled."""
    time.sleep(settle_s)
    before, began = cpu_seconds(home), time.monotonic()
    time.sleep(idle_s)
    waited, after = time.monotonic() - began, cpu_seconds(home)
    for pid, used in sorted(after.items()):
        print(f"  {used - before.get(pid, 0.0):6.2f} s  {command_line(pid)}", flush=True)
    return sum(after.values()) - sum(before.values()), waited


def cpu_seconds(home):
    """Return the CPU seconds of each process of a home folder, with those of its children that have ended."""
    entry, used = f"MUSETALK_HOME={home}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) != os.getpid() and entry in (folder / "environ").read_bytes().split(b"\0"):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                used[int(folder.name)] = sum(int(ticks) for ticks in fields[11:15]) / _TICKS
        except OSError:  # it has ended, or belongs to another user
            continue
    return used


def command_line(pid):
    """Return the last words of a process's command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return "(ended)"
    return " ".join(words).strip()[-70:]


if __name__ == "__main__":
    main()
