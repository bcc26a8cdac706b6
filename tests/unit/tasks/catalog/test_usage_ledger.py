"""The ledger of usage: nothing is lost or counts twice when days are written and merged."""

import threading
from datetime import date, timedelta

import pytest

from tasks.catalog import usage_ledger
from tasks.catalog.usage_ledger import (
    USAGE_PREFIX,
    UsageKey,
    UsageSum,
    add_sum,
    attempt_sum,
    delete_day,
    list_days,
    merge_day,
    read_days,
    write_part,
)
from tasks.run.usage import PhaseUsage, RunUsage
from tasks.storage.home_store import home_store

DAY = date(2026, 11, 30)
ACME = UsageKey("acme", None, "lip_sync", "viseme")
OTHER = UsageKey(None, "0b7c6f0e-4c1d-4a55-9d0e-6f1d2c3b4a59", "batch", None)


def used(cpu_s, count=1, result="succeeded"):
    return UsageSum({result: count}, 2.0 * count, 10 * count, {"render": PhaseUsage(cpu_s, 2 * cpu_s)})


def total(first=DAY, last=DAY):
    sums = {}
    for _, one in read_days(first, last):
        for key, more in one.items():
            add_sum(sums, key, more)
    return sums


@pytest.fixture(params=["folder", "bucket"])
def store(request, configure):
    if request.param == "bucket":
        bucket = request.getfixturevalue("bucket")
        configure(store__url=f"s3://{bucket.name}/system")
    return home_store()


def test_writers_add_up_and_replace_their_own_sums(store):
    write_part(DAY, "one", {ACME: used(1.0)})
    write_part(DAY, "two", {ACME: used(0.5), OTHER: used(4.0)})
    write_part(DAY, "one", {ACME: used(3.0, count=2)})
    assert total() == {ACME: used(3.0, 2).plus(used(0.5)), OTHER: used(4.0)}
    assert total()[ACME].total == PhaseUsage(3.5, 7.0)


def test_only_the_days_of_the_range_are_read(store):
    for number in range(-2, 3):
        write_part(DAY + timedelta(days=number), "one", {ACME: used(2.0**number)})
    assert total(DAY - timedelta(days=1), DAY + timedelta(days=1))[ACME].total.cpu_s == 3.5
    assert list(list_days()) == [DAY + timedelta(days=number) for number in range(-2, 3)]


def test_merged_days_read_the_same(store):
    write_part(DAY, "one", {ACME: used(1.0)})
    write_part(DAY, "two", {OTHER: used(2.0)})
    before = total()
    assert merge_day(DAY) == 2
    assert total() == before and [info.key for info in store.list(USAGE_PREFIX)] == [
        "usage/2026-11-30/all.json"
    ]
    assert merge_day(DAY) == 0
    write_part(DAY, "three", {ACME: used(5.0)})  # a late writer
    assert merge_day(DAY) == 1 and total()[ACME].total.cpu_s == 6.0


def test_a_merge_that_is_killed_before_it_deletes_counts_nothing_twice(store, monkeypatch):
    write_part(DAY, "one", {ACME: used(1.0)})
    write_part(DAY, "two", {ACME: used(2.0)})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(store), "delete", interrupt)
        merge_day(DAY)
    assert len(list(store.list(USAGE_PREFIX))) == 3
    assert total()[ACME].total.cpu_s == 3.0
    assert merge_day(DAY) == 2 and total()[ACME].total.cpu_s == 3.0


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_day_that_is_merged_while_it_is_read_is_read_again(store, monkeypatch):
    write_part(DAY, "one", {ACME: used(1.0)})
    write_part(DAY, "two", {ACME: used(2.0)})
    listed, waiting = usage_ledger._list_days, [True]

    def list_then_merge(first, last):
        infos = list(listed(first, last))
        if waiting and threading.current_thread() is threading.main_thread():
            waiting.clear()
            merge_day(DAY)
        return iter(infos)

    monkeypatch.setattr(usage_ledger, "_list_days", list_then_merge)
    assert total()[ACME].total.cpu_s == 3.0


def test_a_deleted_day_is_gone(store):
    write_part(DAY, "one", {ACME: used(1.0)})
    assert delete_day(DAY) == 1 and total() == {} and list(list_days()) == []


def test_an_attempt_is_a_sum_of_one():
    usage = RunUsage({"render": PhaseUsage(1.0, 2.0)}, {"render": 3.0}, "viseme", 7)
    assert attempt_sum(usage, "failed", 4.0) == UsageSum(
        {"failed": 1}, 4.0, 7, {"render": PhaseUsage(1.0, 2.0)}
    )
