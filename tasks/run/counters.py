"""
Counters of a process for Prometheus: store errors, cache lookups, webhook attempts, lost runs, used time.

Every label has a fixed list of values, so the number of series is bounded, and every series exists from the
start with 0: without it, the first increase is invisible to `rate`. A worker adds the counters of its child
processes to its own (`add_counts`), so they survive the end of a child. Imports no Prometheus library.
"""

import itertools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

OTHER: Final = "other"
"""Value of a label for values that are not in its list."""

PHASES: Final = (
    "fetch",
    "speak",
    "prepare",
    "features",
    "render",
    "encode",
    "join",
    "quality",
    "sign",
    "upload",
    "verify",
    OTHER,
)
"""Phases of a run; `other` is the time outside of all phases."""


@dataclass(frozen=True, slots=True)
class CounterSpec:
    """
    A counter.

    Attributes:
        name:   name without the suffix `_total`.
        help:   description, as Prometheus shows it.
        labels: values of each label; a value that is not listed counts as the last one.
    """

    name: str
    help: str
    labels: Mapping[str, tuple[str, ...]]

    def series(self) -> Iterator[tuple[str, ...]]:
        """Yield the label values of each series."""
        yield from itertools.product(*self.labels.values())


STORE_ERRORS: Final = CounterSpec(
    "musetalk_store_errors",
    "Requests to a store that failed, by kind of store and error code.",
    {
        "store": ("s3", "folder"),
        "code": ("storage_unavailable", "upload_failed", "bucket_not_allowed", "disk_full", OTHER),
    },
)
CACHE_LOOKUPS: Final = CounterSpec(
    "musetalk_cache_lookups",
    "Results of cached steps of jobs: from the cache, or computed.",
    {
        "step": (
            "fetch",
            "prepare",
            "features",
            "sound",
            "render",
            "encode",
            "join",
            "speak",
            "voice",
            "hear",
            "quality",
            "sign",
            OTHER,
        ),
        "result": ("hit", "miss"),
    },
)
WEBHOOK_ATTEMPTS: Final = CounterSpec(
    "musetalk_webhook_attempts",
    "Attempts to deliver a webhook, by outcome.",
    {"outcome": ("delivered", "refused", "unreachable", "blocked", "gone", "dropped", OTHER)},
)
WEBHOOK_DEAD_LETTERS: Final = CounterSpec(
    "musetalk_webhook_dead_letters", "Webhooks whose last attempt failed, without those for progress.", {}
)
LOST_RUNS: Final = CounterSpec(
    "musetalk_lost_runs",
    "Attempts that ended without a state: the process or the worker ended.",
    {"found_by": ("worker", "reaper", "maintenance")},
)
CPU_SECONDS: Final = CounterSpec(
    "musetalk_cpu_seconds", "CPU time of runs and the programs that they start.", {"phase": PHASES}
)
DEVICE_SECONDS: Final = CounterSpec(
    "musetalk_device_seconds", "Time for which runs occupied a GPU.", {"phase": PHASES}
)
COUNTERS: Final = (
    STORE_ERRORS,
    CACHE_LOOKUPS,
    WEBHOOK_ATTEMPTS,
    WEBHOOK_DEAD_LETTERS,
    LOST_RUNS,
    CPU_SECONDS,
    DEVICE_SECONDS,
)
_SPEC_BY_NAME: Final = {spec.name: spec for spec in COUNTERS}
_SEPARATOR: Final = "|"

_lock = threading.Lock()
_counts: dict[str, float] = {}


def count(spec: CounterSpec, *values: str, amount: float = 1.0) -> None:
    """
    Increase a counter of this process.

    Args:
        spec:   the counter.
        values: a value for each of its labels.
        amount: by how much.

    Raises:
        ValueError: the number of values is not that of the labels.
    """
    known = zip(values, spec.labels.values(), strict=True)
    key = _SEPARATOR.join([spec.name, *(value if value in listed else listed[-1] for value, listed in known)])
    with _lock:
        _counts[key] = _counts.get(key, 0.0) + amount


def counts() -> dict[str, float]:
    """Return the counters of this process that are not 0, as JSON-compatible data for `add_counts`."""
    with _lock:
        return dict(_counts)


def add_counts(before: Mapping[str, float], now: Mapping[str, float]) -> None:
    """
    Add to this process what another process has counted between two calls of `counts`.

    Args:
        before: its counters at the earlier time; empty at its start.
        now:    its counters now. Unknown ones are ignored.
    """
    for key, value in now.items():
        name, *values = key.split(_SEPARATOR)
        spec, amount = _SPEC_BY_NAME.get(name), value - before.get(key, 0.0)
        if spec is not None and len(values) == len(spec.labels) and amount > 0:
            count(spec, *values, amount=amount)


def read_series(spec: CounterSpec) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the label values and the value of each series of a counter of this process."""
    current = counts()
    for values in spec.series():
        yield values, current.get(_SEPARATOR.join([spec.name, *values]), 0.0)
