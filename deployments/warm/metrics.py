"""
What a worker and its children are doing, for Prometheus and for Prefect's page of the worker.

Prefect's own metrics server shows it: PREFECT_CLIENT_METRICS_ENABLED and PREFECT_CLIENT_METRICS_PORT.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client.core import REGISTRY, CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from deployments.warm.slot import Slot
    from deployments.warm.worker import WarmWorker

STATES = ("starting", "idle", "busy", "ending", "gone")
_LABELS = ["worker", "child"]


def describe(slot: "Slot") -> dict[str, Any]:
    """Return what there is to know about a child, in JSON."""
    return {
        "child": slot.number,
        "card": slot.card or "cpu",
        "process": slot.pid,
        "state": slot.state,
        "flow_run": slot.run_id,
        "models": list(slot.beat.models),
        "rss_bytes": slot.beat.rss,
        "device_bytes": slot.beat.device,
        "runs": slot.served,
        "restarts": slot.restarts,
    }


class _Collector:
    """Reads the workers of this process when it is asked; keeps nothing."""

    def __init__(self) -> None:
        self.workers: list[WarmWorker] = []

    def collect(self) -> Iterator[Metric]:
        """Yield one family a figure."""
        slots = [(worker.name, slot) for worker in self.workers for slot in worker.slots]
        state = GaugeMetricFamily(
            "musetalk_child_state", "1 for the state it is in", labels=[*_LABELS, "state"]
        )
        rss = GaugeMetricFamily("musetalk_child_resident_bytes", "Memory of the child", labels=_LABELS)
        device = GaugeMetricFamily("musetalk_child_device_bytes", "Memory taken on its card", labels=_LABELS)
        models = GaugeMetricFamily("musetalk_child_models", "Models that are loaded", labels=_LABELS)
        runs = CounterMetricFamily("musetalk_child_runs", "Flow runs served", labels=_LABELS)
        restarts = CounterMetricFamily(
            "musetalk_child_restarts", "Times the child was replaced", labels=_LABELS
        )
        loads = CounterMetricFamily(
            "musetalk_model_loads", "Times a model was loaded", labels=[*_LABELS, "model"]
        )
        for name, slot in slots:
            labels = [name, str(slot.number)]
            for word in STATES:
                state.add_metric([*labels, word], float(slot.state == word))
            rss.add_metric(labels, slot.beat.rss)
            device.add_metric(labels, slot.beat.device)
            models.add_metric(labels, len(slot.beat.models))
            runs.add_metric(labels, slot.served)
            restarts.add_metric(labels, slot.restarts)
            for model, times in slot.loads.items():
                loads.add_metric([*labels, model], times)
        yield from (state, rss, device, models, runs, restarts, loads)


_collector = _Collector()


def register(worker: "WarmWorker") -> None:
    """Show a worker's children from now on."""
    if not _collector.workers:
        REGISTRY.register(_collector)
    _collector.workers.append(worker)


def unregister(worker: "WarmWorker") -> None:
    """Show them no more."""
    if worker in _collector.workers:
        _collector.workers.remove(worker)
        if not _collector.workers:
            REGISTRY.unregister(_collector)
