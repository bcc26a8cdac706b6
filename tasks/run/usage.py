"""
CPU time and GPU time of a run, measured in its process and divided among phases that run at the same time.

The CPU time of the process and of the programs that it started and waited for is read whenever a phase
begins or ends. Of what was used since the last time, each phase gets the CPU time of its own thread, and an
equal share of the rest: threads of libraries, and ffmpeg. GPU time is the time for which the process occupies
its GPU, in equal shares. Time without a phase is `other`, so the sum of the phases is what the run has used.
"""

import resource
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tasks.run.counters import OTHER


class PhaseUsage(NamedTuple):  # made by the 100,000: a dataclass takes three times as long
    """CPU time of a phase in seconds, and seconds for which it occupied a GPU."""

    cpu_s: float = 0.0
    device_s: float = 0.0

    def plus(self, other: "PhaseUsage") -> "PhaseUsage":
        """Return the sum of both."""
        return PhaseUsage(self.cpu_s + other.cpu_s, self.device_s + other.device_s)


NOTHING: Final = PhaseUsage()


@dataclass(frozen=True, slots=True)
class RunUsage:
    """
    Usage of an attempt of a run so far.

    Attributes:
        phases:       CPU and GPU time by phase.
        seconds:      duration by phase; phases may overlap.
        engine:       rendering engine or voice; None for other runs, and before it is chosen.
        stored_bytes: size of the outputs that were stored.
    """

    phases: Mapping[str, PhaseUsage] = field(default_factory=dict[str, PhaseUsage])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    engine: str | None = None
    stored_bytes: int = 0

    @property
    def total(self) -> PhaseUsage:
        """The sum of all phases."""
        return sum_of(self.phases.values())

    def to_json(self) -> dict[str, Any]:
        """Return JSON-compatible data for `run_usage_of`."""
        return {
            "phases": {
                name: [round(used.cpu_s, 6), round(used.device_s, 6)] for name, used in self.phases.items()
            },
            "seconds": {name: round(seconds, 6) for name, seconds in self.seconds.items()},
            "engine": self.engine,
            "stored_bytes": self.stored_bytes,
        }


def run_usage_of(data: Mapping[str, Any]) -> RunUsage:
    """Return the usage from the data of `RunUsage.to_json`."""
    phases: Mapping[str, list[float]] = data["phases"]
    return RunUsage(
        {name: PhaseUsage(*used) for name, used in phases.items()},
        dict(data["seconds"]),
        data["engine"],
        data["stored_bytes"],
    )


def sum_of(usages: Iterable[PhaseUsage]) -> PhaseUsage:
    """Return the sum of some phases."""
    total = NOTHING
    for used in usages:
        total = total.plus(used)
    return total


def process_cpu_s() -> float:
    """Return the CPU time of this process, and of the programs that it started and waited for, in seconds."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def thread_cpu_s(thread: int) -> float:
    """Return the CPU time of a running thread in seconds; 0 where the system does not tell it."""
    find_clock: Callable[[int], int] | None = getattr(time, "pthread_getcpuclockid", None)
    return time.clock_gettime(find_clock(thread)) if find_clock else 0.0


class UsageMeter:
    """Measures one attempt of a run. Phases may overlap, in any threads."""

    def __init__(
        self,
        device_share: float = 0.0,
        *,
        cpu_s: Callable[[], float] = process_cpu_s,
        own_cpu_s: Callable[[int], float] = thread_cpu_s,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Start to measure.

        Args:
            device_share: share of a GPU that the process has; 0 without a GPU.
            cpu_s:        returns the CPU time of the process.
            own_cpu_s:    returns the CPU time of a thread.
            clock:        returns the time in seconds.
        """
        self.engine: str | None = None
        self._device_share, self._cpu_s, self._own_cpu_s, self._clock = device_share, cpu_s, own_cpu_s, clock
        self._lock = threading.Lock()
        self._phases: dict[str, PhaseUsage] = {}
        self._seconds: dict[str, float] = {}
        self._stored_bytes = 0
        self._open: dict[int, list[str]] = {}
        """Phases that each thread is in, innermost last."""
        self._thread_s: dict[int, float] = {}
        self._last_cpu_s, self._last_time = cpu_s(), clock()

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Charge what this thread uses in the `with` block to a phase."""
        thread, started_at = threading.get_ident(), self._clock()
        with self._lock:
            self._charge()
            self._open.setdefault(thread, []).append(name)
            self._thread_s[thread] = self._own_cpu_s(thread)
        try:
            yield
        finally:
            with self._lock:
                self._charge()
                self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - started_at
                self._open[thread].pop()
                if not self._open[thread]:
                    del self._open[thread], self._thread_s[thread]

    def add_stored_bytes(self, count: int) -> None:
        """Count the size of an output that was stored."""
        with self._lock:
            self._stored_bytes += count

    def read(self) -> RunUsage:
        """Return what was used so far."""
        with self._lock:
            self._charge()
            return RunUsage(dict(self._phases), dict(self._seconds), self.engine, self._stored_bytes)

    def _charge(self) -> None:
        """Divide what was used since the last time among the open phases; the caller holds the lock."""
        cpu_s, now = self._cpu_s(), self._clock()
        used_cpu_s, used_s = max(0.0, cpu_s - self._last_cpu_s), max(0.0, now - self._last_time)
        self._last_cpu_s, self._last_time = cpu_s, now
        device_s = used_s * self._device_share
        if not self._open:
            self._add(OTHER, used_cpu_s, device_s)
            return
        own_s: dict[int, float] = {}
        for thread in self._open:
            current_s = self._own_cpu_s(thread)
            own_s[thread] = max(0.0, current_s - self._thread_s[thread])
            self._thread_s[thread] = current_s
        scale = min(1.0, used_cpu_s / total) if (total := sum(own_s.values())) else 0.0
        rest_s = used_cpu_s - total * scale
        for thread, names in self._open.items():
            share_s = own_s[thread] * scale + rest_s / len(self._open)
            self._add(names[-1], share_s, device_s / len(self._open))

    def _add(self, phase: str, cpu_s: float, device_s: float) -> None:
        if cpu_s or device_s:
            self._phases[phase] = self._phases.get(phase, NOTHING).plus(PhaseUsage(cpu_s, device_s))


@dataclass(frozen=True, slots=True)
class _RunMeter:
    """The meter of the run that a worker process executes."""

    run_id: str
    meter: UsageMeter


_run_meter: _RunMeter | None = None


def start_run_meter(run_id: str, device_share: float) -> None:
    """Measure the run that this process begins now; a process executes one run at a time."""
    global _run_meter
    _run_meter = _RunMeter(run_id, UsageMeter(device_share))


def stop_run_meter() -> None:
    """End the measurement: what the process uses until its next run belongs to none."""
    global _run_meter
    _run_meter = None


def run_meter() -> UsageMeter:
    """Return the meter of this process's run; a new one in a process that is no worker process."""
    return _run_meter.meter if _run_meter else UsageMeter()


def running_usage() -> dict[str, Any] | None:
    """Return what this worker process's run has used so far, as JSON; None if there is no run."""
    running = _run_meter
    return {"run": running.run_id, **running.meter.read().to_json()} if running else None
