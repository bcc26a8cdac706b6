"""Reports of the successive child processes of a slot: memory, model loads, counters, used time."""

import time
from dataclasses import replace

from deployments.warm_worker.child.protocol import Heartbeat
from tasks.run.counters import CPU_SECONDS, DEVICE_SECONDS, add_counts, count
from tasks.run.usage import NOTHING, RunUsage, run_usage_of


class ChildTotals:
    """The last heartbeat of a slot's child, and totals of all its children; counters go to this process's."""

    def __init__(self) -> None:
        """Begin without a child."""
        self.heartbeat = Heartbeat(rss=0)
        self.load_counts: dict[str, int] = {}
        """Number of loads per model, of all children."""
        self.usage = RunUsage()
        """Usage of the current attempt so far, or of the last one."""
        self.flow = ""
        """Name of the current flow, or the last one; empty until it is loaded."""
        self._run_id, self._started_at = "", time.monotonic()

    def start_run(self, run_id: str) -> None:
        """Begin an attempt of a run."""
        self._run_id, self.usage, self.flow = run_id, RunUsage(), ""
        self._started_at = time.monotonic()

    @property
    def running_s(self) -> float:
        """Seconds since the current attempt began, or the last one if none is running."""
        return time.monotonic() - self._started_at

    def record(self, heartbeat: Heartbeat) -> None:
        """Record a heartbeat, and count what has been added since the one before it."""
        for model, loads in heartbeat.loads.items():
            new_loads = loads - self.heartbeat.loads.get(model, 0)
            if new_loads > 0:
                self.load_counts[model] = self.load_counts.get(model, 0) + new_loads
        add_counts(self.heartbeat.counts, heartbeat.counts)
        # a heartbeat that was read during the run before may arrive late
        if heartbeat.usage is not None and heartbeat.usage.get("run") == self._run_id:
            self._record_usage(run_usage_of(heartbeat.usage))
        self.heartbeat = heartbeat

    def _record_usage(self, usage: RunUsage) -> None:
        for phase, used in usage.phases.items():
            before = self.usage.phases.get(phase, NOTHING)
            count(CPU_SECONDS, phase, amount=max(0.0, used.cpu_s - before.cpu_s))
            count(DEVICE_SECONDS, phase, amount=max(0.0, used.device_s - before.device_s))
        self.usage = usage

    def end_child(self) -> None:
        """Forget the present state of a child that has ended; totals are kept."""
        self.heartbeat = replace(self.heartbeat, rss=0, device=0, models=(), loads={}, counts={}, usage=None)
