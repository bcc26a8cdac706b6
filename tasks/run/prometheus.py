"""The counters of `tasks.run.counters` as Prometheus metrics, for the registry of any process."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from tasks.run.counters import COUNTERS, read_series


class CounterCollector(Collector):
    """Collects the counters of this process on each scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield one metric family per counter, with all its series."""
        for spec in COUNTERS:
            family = CounterMetricFamily(spec.name, spec.help, labels=list(spec.labels))
            for values, value in read_series(spec):
                family.add_metric(values, value)
            yield family
