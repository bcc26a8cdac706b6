"""
Progress monitor of starting processes: distinguishes a slow start from a hang.

Progress is CPU time, bytes read, major page faults, or a change of a caller's value such as a log's size.
"""

import os
import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.settings import StartSettings

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CPU_S: Final = 0.2
_BYTES: Final = 1 << 16
"""Thresholds of progress in CPU seconds and bytes read; idle threads that send reports stay below."""


@dataclass(frozen=True, slots=True)
class Work:
    """
    The cumulative resource use of a process and its descendants.

    Attributes:
        cpu_s:        CPU time in seconds.
        read_bytes:   bytes read from files.
        major_faults: number of major page faults.
    """

    cpu_s: float = 0.0
    bytes: int = 0
    faults: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.cpu_s + other.cpu_s, self.bytes + other.bytes, self.faults + other.faults)

    def is_beyond(self, before: "Work") -> bool:
        """Return whether this is progress over an earlier value; the end of a descendant counts too."""
        cpu_s, count = self.cpu_s - before.cpu_s, self.bytes - before.bytes
        return cpu_s >= _CPU_S or count >= _BYTES or min(cpu_s, count) < 0 or self.faults != before.faults


def work_of(root: int) -> Work:
    """Return the resource use of a process and its descendants; zero where /proc is not available."""
    parents, done = dict[int, int](), dict[int, Work]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # the process has ended
            continue
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        # utime, stime, cutime, cstime: the process and its reaped children
        cpu = sum(map(int, fields[11:15]))
        done[pid] = Work(cpu / _TICKS, 0, int(fields[9]))
    tree = [pid for pid in done if _descends(pid, root, parents)]
    return sum((done[pid] + Work(bytes=_read_bytes(pid)) for pid in tree), Work())


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == root:
            return True
        pid = parents.get(pid, 0)
    return False


def _read_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:  # the process has ended, or belongs to another user
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("rchar:")), 0)


class StartWatch:
    """Tracks the progress of starting processes against a stall limit and a total limit."""

    def __init__(self, limits: StartSettings) -> None:
        """
        Start measuring.

        Args:
            limits: in seconds: `stall_s`, the longest time without progress; `limit_s`, the longest start.
        """
        self._limits = limits
        self._began = self._moved = time.monotonic()
        self._work = dict[int, Work]()
        self._signs: Hashable = None

    @property
    def seconds(self) -> float:
        """Seconds since the start of the measurement."""
        return time.monotonic() - self._began

    def update(self, pids: Iterable[int], signs: Hashable = None) -> None:
        """
        Record progress; call this about once a second.

        Args:
            pids:           ids of the starting processes.
            progress_token: any value; a change of it counts as progress.
        """
        moved = signs != self._signs
        self._signs = signs
        for pid in pids:
            work = work_of(pid)
            if pid not in self._work or work.is_beyond(self._work[pid]):
                self._work[pid], moved = work, True
        if moved:
            self._moved = time.monotonic()

    def failure(self) -> str | None:
        """Return why to stop waiting, as the predicate of a sentence; None to continue waiting."""
        still_s = time.monotonic() - self._moved
        if still_s > self._limits.stall_s:
            return (
                f"made no progress for {still_s:.0f} s: no CPU time, no reads, no log output"
                " (MUSETALK_START__STALL_S sets the limit)"
            )
        if self.seconds > self._limits.limit_s:
            return f"was not ready within {self.seconds:.0f} s (MUSETALK_START__LIMIT_S sets the limit)"
        return None
