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

_CLOCK_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_MIN_CPU_S: Final = 0.2
_MIN_READ_BYTES: Final = 1 << 16
"""Thresholds of progress in CPU seconds and bytes read; idle threads that send reports stay below."""


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """
    The cumulative resource use of a process and its descendants.

    Attributes:
        cpu_s:        CPU time in seconds.
        read_bytes:   bytes read from files.
        major_faults: number of major page faults.
    """

    cpu_s: float = 0.0
    read_bytes: int = 0
    major_faults: int = 0

    def __add__(self, other: "ResourceUse") -> "ResourceUse":
        return ResourceUse(
            self.cpu_s + other.cpu_s,
            self.read_bytes + other.read_bytes,
            self.major_faults + other.major_faults,
        )

    def has_progressed_since(self, earlier: "ResourceUse") -> bool:
        """Return whether this is progress over an earlier value; the end of a descendant counts too."""
        cpu_s, read_bytes = self.cpu_s - earlier.cpu_s, self.read_bytes - earlier.read_bytes
        return (
            cpu_s >= _MIN_CPU_S
            or read_bytes >= _MIN_READ_BYTES
            or min(cpu_s, read_bytes) < 0
            or self.major_faults != earlier.major_faults
        )


def process_tree_use(root: int) -> ResourceUse:
    """Return the resource use of a process and its descendants; zero where /proc is not available."""
    parents, use_by_pid = dict[int, int](), dict[int, ResourceUse]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # the process has ended
            continue
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        # utime, stime, cutime, cstime: the process and its reaped children
        cpu = sum(map(int, fields[11:15]))
        use_by_pid[pid] = ResourceUse(cpu / _CLOCK_TICKS_PER_S, 0, int(fields[9]))
    tree = [pid for pid in use_by_pid if _descends(pid, root, parents)]
    return sum((use_by_pid[pid] + ResourceUse(read_bytes=_read_bytes(pid)) for pid in tree), ResourceUse())


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


class StartMonitor:
    """Tracks the progress of starting processes against a stall limit and a total limit."""

    def __init__(self, limits: StartSettings) -> None:
        """
        Start measuring.

        Args:
            limits: in seconds: `stall_s`, the longest time without progress; `limit_s`, the longest start.
        """
        self._limits = limits
        self._started_at = self._last_progress_at = time.monotonic()
        self._use_by_pid = dict[int, ResourceUse]()
        self._progress_token: Hashable = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the measurement."""
        return time.monotonic() - self._started_at

    def update(self, pids: Iterable[int], progress_token: Hashable = None) -> None:
        """
        Record progress; call this about once a second.

        Args:
            pids:           ids of the starting processes.
            progress_token: any value; a change of it counts as progress.
        """
        has_progress = progress_token != self._progress_token
        self._progress_token = progress_token
        for pid in pids:
            use = process_tree_use(pid)
            if pid not in self._use_by_pid or use.has_progressed_since(self._use_by_pid[pid]):
                self._use_by_pid[pid], has_progress = use, True
        if has_progress:
            self._last_progress_at = time.monotonic()

    def failure_reason(self) -> str | None:
        """Return why to stop waiting, as the predicate of a sentence; None to continue waiting."""
        stalled_s = time.monotonic() - self._last_progress_at
        if stalled_s > self._limits.stall_s:
            return (
                f"made no progress for {stalled_s:.0f} s: no CPU time, no reads, no log output"
                " (MUSETALK_START__STALL_S sets the limit)"
            )
        if self.elapsed_s > self._limits.limit_s:
            return f"was not ready within {self.elapsed_s:.0f} s (MUSETALK_START__LIMIT_S sets the limit)"
        return None
