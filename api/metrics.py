"""What the API counts, in Prometheus' words. No job, key or tenant is a label: their number has no end."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        """Make them, in a registry of their own."""
        here = self.registry = CollectorRegistry()
        self._requests = Counter(
            "musetalk_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=here,
        )
        self._seconds = Histogram(
            "musetalk_http_request_seconds",
            "Time to the first byte of an answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=here,
        )
        self._jobs = Counter(
            "musetalk_jobs_submitted_total", "Jobs taken, replays not counted.", ["type"], registry=here
        )
        self._ready = Gauge(
            "musetalk_ready", "1 for a part that is ready, as /readyz last found it.", ["part"], registry=here
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is the template of its path, never the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def taken(self, job_type: str) -> None:
        """Count a job."""
        self._jobs.labels(job_type).inc()

    def found(self, part: str, *, ready: bool) -> None:
        """Note whether a part of the system is ready."""
        self._ready.labels(part).set(ready)
