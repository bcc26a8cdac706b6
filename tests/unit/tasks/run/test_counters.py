"""Counters: bounded series that exist from the start, and sums over processes that come and go."""

import json

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tasks.run import counters
from tasks.run.counters import (
    CACHE_LOOKUPS,
    COUNTERS,
    CPU_SECONDS,
    LOST_RUNS,
    PHASES,
    WEBHOOK_DEAD_LETTERS,
    add_counts,
    count,
    counts,
    read_series,
)
from tasks.run.prometheus import CounterCollector


@pytest.fixture(autouse=True)
def no_counts(monkeypatch):
    monkeypatch.setattr(counters, "_counts", {})


def values(spec):
    return dict(read_series(spec))


def test_every_series_exists_before_anything_was_counted():
    registry = CollectorRegistry()
    registry.register(CounterCollector())
    found = {
        family.name: len(family.samples)
        for family in text_string_to_metric_families(generate_latest(registry).decode())
    }
    assert found == {spec.name: len(list(spec.series())) for spec in COUNTERS}
    assert all(value == 0 for spec in COUNTERS for value in values(spec).values())


def test_unknown_values_share_one_series():
    for number in range(1000):
        count(CACHE_LOOKUPS, f"step-{number}", "hit")
    assert values(CACHE_LOOKUPS)["other", "hit"] == 1000
    assert len(counts()) == 1


def test_the_number_of_values_is_checked():
    with pytest.raises(ValueError, match="zip"):
        count(CACHE_LOOKUPS, "render")


def test_a_worker_sums_its_children_and_survives_their_ends():
    first = {"musetalk_lost_runs|maintenance": 2.0, "musetalk_cpu_seconds|render": 1.5}
    add_counts({}, json.loads(json.dumps(first)))
    add_counts(first, {**first, "musetalk_cpu_seconds|render": 2.0})
    add_counts({}, {"musetalk_cpu_seconds|render": 0.25})  # a new child counts from 0
    assert values(LOST_RUNS)["maintenance",] == 2
    assert values(CPU_SECONDS)["render",] == 2.25


def test_what_a_newer_child_counts_is_ignored():
    newer = {"musetalk_unknown|x": 1.0, "musetalk_lost_runs|a|b": 1.0, "musetalk_webhook_dead_letters": 3.0}
    add_counts({}, newer)
    assert values(WEBHOOK_DEAD_LETTERS) == {(): 3.0}
    assert values(LOST_RUNS)["maintenance",] == 0


def test_the_phases_are_those_of_reports():
    from typing import get_args

    from tasks.run.reports import Phase

    assert (*get_args(Phase), "other") == PHASES
