"""Maintenance of the ledger of usage: ended days are merged, old ones deleted, the present ones kept."""

from datetime import UTC, datetime, timedelta

import pytest

from flows.maintenance.context import SweepContext
from flows.maintenance.usage import MERGED_USAGE, OLD_USAGE, tidy_usage
from tasks.catalog.usage_ledger import UsageKey, UsageSum, list_days, read_days, write_part
from tasks.settings import get_settings
from tasks.settings.retention import RetentionSettings
from tasks.storage.home_store import _open_store, home_store

NOW = datetime(2026, 11, 30, 0, 5, tzinfo=UTC)
AGES = (0, 1, 2, 3, 9, 10, 11)


@pytest.fixture(autouse=True)
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path))
    for remembered in (get_settings, _open_store):
        remembered.cache_clear()
    for age in AGES:
        for writer in ("one", "two"):
            write_part(day(age), writer, {UsageKey("acme", None, "speech", None): UsageSum({"succeeded": 1})})
    yield
    for remembered in (get_settings, _open_store):
        remembered.cache_clear()


def day(age):
    return NOW.date() - timedelta(days=age)


def tidy(*, dry_run=False, days=10):
    retention = RetentionSettings(usage_days=days)
    return [(one.kind, one.item) for one in tidy_usage(SweepContext(None, NOW, retention, dry_run))]


def attempts():
    return sum(sum(one.attempts.values()) for _, sums in read_days(day(20), day(0)) for one in sums.values())


def test_old_days_go_and_ended_ones_become_one_object():
    assert tidy() == [
        (OLD_USAGE, day(11).isoformat()),
        (MERGED_USAGE, day(10).isoformat()),
        (MERGED_USAGE, day(9).isoformat()),
        (MERGED_USAGE, day(3).isoformat()),
    ]
    assert list(list_days()) == [day(age) for age in reversed(AGES[:-1])]
    assert len(list(home_store().list("usage/"))) == 3 + 2 * 3 and attempts() == 2 * 6
    assert tidy() == []


def test_a_dry_run_changes_nothing_and_0_keeps_everything():
    assert tidy(dry_run=True) == [(OLD_USAGE, day(11).isoformat())]
    assert attempts() == 2 * len(AGES)
    tidy(days=0)
    assert attempts() == 2 * len(AGES)
