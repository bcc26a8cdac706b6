"""Prometheus metrics of the API. Jobs, keys and tenants are not labels: their cardinality is unbounded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tasks.run.prometheus import CounterCollector

_DURATION_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

UploadEvent = Literal["created", "interrupted", "completed", "deleted"]
"""Events of a resumable upload that are counted."""


@dataclass(frozen=True, slots=True)
class PoolQueue:
    """
    The queue of a work pool, jobs and the system's own runs together.

    Attributes:
        pool:             name of the work pool.
        waiting:          runs that are due and that no worker has claimed, by priority.
        running:          runs that a worker has claimed or is running.
        oldest_waiting_s: how long the oldest waiting run has been due, in seconds; 0 if none waits.
        waiting_jobs:     jobs among the waiting runs, by priority and class of their tenant.
    """

    pool: str
    waiting: Mapping[str, int]
    running: int
    oldest_waiting_s: float
    waiting_jobs: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])


@dataclass(frozen=True, slots=True)
class WebhookBacklog:
    """
    Webhook attempts that have not been made yet.

    Attributes:
        due:         attempts that are due and wait for a worker.
        later:       attempts that are scheduled for later, mostly after a failed one.
        oldest_due_s: how long the oldest attempt has been due, in seconds; 0 if none is due.
    """

    due: int
    later: int
    oldest_due_s: float


class Metrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        """Create the metrics in a registry of their own."""
        registry = self.registry = CollectorRegistry()
        self._requests = Counter(
            "musetalk_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "musetalk_http_request_seconds",
            "Time to the first byte of a response.",
            ["method", "route"],
            buckets=_DURATION_BUCKETS_S,
            registry=registry,
        )
        self._jobs = Counter(
            "musetalk_jobs_submitted_total", "Jobs accepted, without replays.", ["type"], registry=registry
        )
        self._uploads = Counter(
            "musetalk_resumable_uploads_total",
            "Resumable uploads by what happened to them.",
            ["event"],
            registry=registry,
        )
        self._upload_bytes = Counter(
            "musetalk_resumable_upload_bytes_total", "Bytes of resumable uploads stored.", registry=registry
        )
        self._policy_reports = Counter(
            "musetalk_studio_policy_reports_total",
            "Violations of the studio's Content-Security-Policy that browsers reported.",
            registry=registry,
        )
        self._ready = Gauge(
            "musetalk_ready", "1 if the part was ready at the last /readyz.", ["part"], registry=registry
        )

        self._waiting = Gauge(
            "musetalk_queue_waiting_runs",
            "Runs that are due and that no worker has claimed.",
            ["pool", "priority"],
            registry=registry,
        )
        self._waiting_jobs = Gauge(
            "musetalk_queue_waiting_jobs",
            "Jobs that are due and that no worker has claimed, by class of their tenant.",
            ["pool", "priority", "tenant_class"],
            registry=registry,
        )
        self._running = Gauge(
            "musetalk_queue_running_runs",
            "Runs that a worker has claimed or is running.",
            ["pool"],
            registry=registry,
        )
        self._unfinished = Gauge(
            "musetalk_queue_unfinished_runs",
            "Waiting and running runs: the work that needs workers.",
            ["pool"],
            registry=registry,
        )
        self._oldest = Gauge(
            "musetalk_queue_oldest_waiting_seconds",
            "How long the oldest waiting run has been due.",
            ["pool"],
            registry=registry,
        )
        self._webhooks = Gauge(
            "musetalk_webhooks_waiting",
            "Webhook attempts that are due, or scheduled for later.",
            ["state"],
            registry=registry,
        )
        self._oldest_webhook = Gauge(
            "musetalk_webhooks_oldest_seconds",
            "How long the oldest webhook attempt has been due.",
            ["state"],
            registry=registry,
        )
        registry.register(CounterCollector())

    def count_response(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response and its duration; `route` is the path template, never the path itself."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def count_job(self, job_type: str) -> None:
        """Count a submitted job."""
        self._jobs.labels(job_type).inc()

    def count_upload(self, event: UploadEvent) -> None:
        """Count an event of a resumable upload."""
        self._uploads.labels(event).inc()

    def count_upload_bytes(self, count: int) -> None:
        """Count bytes of a resumable upload that were stored."""
        self._upload_bytes.inc(count)

    def count_policy_report(self) -> None:
        """Count a report of a violation of the studio's policy."""
        self._policy_reports.inc()

    def set_queues(self, queues: Sequence[PoolQueue]) -> None:
        """Set the state of the queues; queues that are not listed, or all if it is unknown, are left out."""
        for gauge in (self._waiting, self._waiting_jobs, self._running, self._unfinished, self._oldest):
            gauge.clear()
        for queue in queues:
            for priority, count in queue.waiting.items():
                self._waiting.labels(queue.pool, priority).set(count)
            for (priority, tenant_class), count in queue.waiting_jobs.items():
                self._waiting_jobs.labels(queue.pool, priority, tenant_class).set(count)
            self._running.labels(queue.pool).set(queue.running)
            self._unfinished.labels(queue.pool).set(queue.running + sum(queue.waiting.values()))
            self._oldest.labels(queue.pool).set(queue.oldest_waiting_s)

    def set_webhooks(self, backlog: WebhookBacklog | None) -> None:
        """Set the backlog of webhooks; it is left out if it is unknown."""
        for gauge in (self._webhooks, self._oldest_webhook):
            gauge.clear()
        if backlog is not None:
            self._webhooks.labels("due").set(backlog.due)
            self._webhooks.labels("later").set(backlog.later)
            self._oldest_webhook.labels("due").set(backlog.oldest_due_s)

    def set_ready(self, part: str, *, ready: bool) -> None:
        """Set the readiness of a part of the system."""
        self._ready.labels(part).set(ready)
