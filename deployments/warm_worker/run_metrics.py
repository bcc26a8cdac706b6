"""Histograms of the runs of this process's workers: wait, duration and phases."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from prometheus_client import Histogram
from prometheus_client.core import REGISTRY

from flows.prefect_state.queue_order import due_time, priority_rank
from flows.registry import FLOWS
from flows.schemas.control import PRIORITIES
from tasks.run.counters import OTHER
from tasks.run.prometheus import CounterCollector

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from prometheus_client import CollectorRegistry

    from tasks.run.usage import RunUsage

_BUCKETS_S: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)


class RunMetrics:
    """The histograms of runs, and the counters of this process and its children."""

    def __init__(self, registry: "CollectorRegistry") -> None:
        """Create the metrics in a registry."""
        self._wait = Histogram(
            "musetalk_run_wait_seconds",
            "Time from the moment at which a run was due to its start in a child.",
            ["pool", "priority"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._duration = Histogram(
            "musetalk_run_seconds",
            "Duration of attempts of runs.",
            ["pool", "type", "result"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._phase = Histogram(
            "musetalk_phase_seconds",
            "Duration of the phases of attempts of runs.",
            ["type", "phase"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        registry.register(CounterCollector())

    def observe_start(self, pool: str, run: "FlowRun") -> None:
        """Observe how long a run has waited that starts now."""
        waited_s = (datetime.now(UTC) - due_time(run)).total_seconds()
        priority = PRIORITIES[priority_rank(run, run.work_queue_name)]
        self._wait.labels(pool, priority).observe(max(0.0, waited_s))

    def observe_end(self, pool: str, flow: str, result: str, seconds: float, usage: "RunUsage") -> None:
        """Observe the end of an attempt of a run, and the duration of each phase that has ended."""
        job_type = type_label(flow)
        self._duration.labels(pool, job_type, result).observe(seconds)
        for phase, phase_s in usage.seconds.items():
            self._phase.labels(job_type, phase).observe(phase_s)


def type_label(flow: str) -> str:
    """Return the label of a flow: its name, or `other` for a flow of another project."""
    return flow if flow in FLOWS else OTHER


@lru_cache(maxsize=1)
def run_metrics() -> RunMetrics:
    """Return the metrics in Prometheus' default registry, which Prefect's metrics server serves."""
    return RunMetrics(REGISTRY)
