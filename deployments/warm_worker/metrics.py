"""
Prometheus metrics and status description of a worker's child processes.

Prefect's own metrics server serves them: PREFECT_CLIENT_METRICS_ENABLED and PREFECT_CLIENT_METRICS_PORT.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client.core import REGISTRY, CounterMetricFamily, GaugeMetricFamily, Metric

from deployments.warm_worker.run_metrics import run_metrics

if TYPE_CHECKING:
    from deployments.warm_worker.child.slot import Slot
    from deployments.warm_worker.worker import WarmWorker

CHILD_STATES = ("starting", "idle", "busy", "ending", "gone")
_LABELS = ["worker", "child"]


def describe_child(slot: "Slot") -> dict[str, Any]:
    """Return the status of a child process as a JSON-compatible dictionary."""
    return {
        "child": slot.number,
        "gpu": slot.gpu or "cpu",
        "process": slot.pid,
        "state": slot.state,
        "flow_run": slot.run_id,
        "models": list(slot.totals.heartbeat.models),
        "rss_bytes": slot.totals.heartbeat.rss,
        "device_bytes": slot.totals.heartbeat.device,
        "runs": slot.total_runs,
        "restarts": slot.restarts,
    }


class _WorkerCollector:
    """Collects the current metrics of this process's workers on each scrape."""

    def __init__(self) -> None:
        self.workers: list[WarmWorker] = []

    def collect(self) -> Iterator[Metric]:
        """Yield one metric family per metric."""
        slots = [(worker.name, slot) for worker in self.workers for slot in worker.slots]
        state = GaugeMetricFamily(
            "musetalk_child_state", "1 for the current state of the child", labels=[*_LABELS, "state"]
        )
        rss = GaugeMetricFamily(
            "musetalk_child_resident_bytes", "Resident memory of the child", labels=_LABELS
        )
        device = GaugeMetricFamily(
            "musetalk_child_device_bytes", "GPU memory reserved by the child", labels=_LABELS
        )
        models = GaugeMetricFamily("musetalk_child_models", "Number of loaded models", labels=_LABELS)
        runs = CounterMetricFamily("musetalk_child_runs", "Flow runs executed", labels=_LABELS)
        restarts = CounterMetricFamily(
            "musetalk_child_restarts", "Number of times the child was replaced", labels=_LABELS
        )
        loads = CounterMetricFamily(
            "musetalk_model_loads", "Number of times a model was loaded", labels=[*_LABELS, "model"]
        )
        for name, slot in slots:
            labels = [name, str(slot.number)]
            for state_name in CHILD_STATES:
                state.add_metric([*labels, state_name], float(slot.state == state_name))
            rss.add_metric(labels, slot.totals.heartbeat.rss)
            device.add_metric(labels, slot.totals.heartbeat.device)
            models.add_metric(labels, len(slot.totals.heartbeat.models))
            runs.add_metric(labels, slot.total_runs)
            restarts.add_metric(labels, slot.restarts)
            for model, load_count in slot.totals.load_counts.items():
                loads.add_metric([*labels, model], load_count)
        yield from (state, rss, device, models, runs, restarts, loads)


_collector = _WorkerCollector()


def register_worker(worker: "WarmWorker") -> None:
    """Add a worker's children to the metrics."""
    run_metrics()
    if not _collector.workers:
        REGISTRY.register(_collector)
    _collector.workers.append(worker)


def unregister_worker(worker: "WarmWorker") -> None:
    """Remove a worker's children from the metrics."""
    if worker in _collector.workers:
        _collector.workers.remove(worker)
        if not _collector.workers:
            REGISTRY.unregister(_collector)
