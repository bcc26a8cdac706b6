"""The sums of a worker: every attempt once, whatever fails, and what a killed worker leaves."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from deployments.warm_worker import usage_book
from deployments.warm_worker.usage_book import UsageBook, usage_key
from tasks.catalog.usage_ledger import UsageKey, read_days
from tasks.run.usage import PhaseUsage, RunUsage
from tasks.settings import get_settings
from tasks.storage.home_store import _open_store

TODAY = date(2026, 11, 30)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path))
    for remembered in (get_settings, _open_store):
        remembered.cache_clear()
    yield
    for remembered in (get_settings, _open_store):
        remembered.cache_clear()


class Worker:
    """A book, the attempts that run, and the present day."""

    def __init__(self):
        self.running, self.day, self.lines = [], TODAY, []
        self.book = UsageBook(lambda: self.running, self.lines.append, lambda: self.day)

    def write(self):
        self.book.write(self.running)


def run(*tags):
    return SimpleNamespace(id=uuid4(), tags=list(tags))


def used(cpu_s, engine=None):
    return RunUsage({"render": PhaseUsage(cpu_s, cpu_s)}, {}, engine, 0)


def stored(first=TODAY, last=TODAY):
    """CPU time and attempts by result on the days of a range."""
    cpu_s, attempts = 0.0, {}
    for _, sums in read_days(first, last):
        for one in sums.values():
            cpu_s += one.total.cpu_s
            for result, count in one.attempts.items():
                attempts[result] = attempts.get(result, 0) + count
    return round(cpu_s, 6), attempts


def test_keys_name_tenant_batch_and_engine():
    parent = str(uuid4())
    part = run("tenant:acme", f"part-of:{parent}", "tag:x")
    assert usage_key(part, "lip_sync", "viseme") == UsageKey("acme", parent, "lip_sync", "viseme")
    batch = run()
    assert usage_key(batch, "batch", None) == UsageKey(None, str(batch.id), "batch", None)
    assert usage_key(run(), "speech", None) == UsageKey(None, None, "speech", None)
    assert usage_key(run(), "of another project", None).type == "other"


def test_every_attempt_counts_with_its_result():
    worker = Worker()
    for result in ("succeeded", "failed", "canceled", "lost", "returned", "succeeded"):
        worker.book.add(run("tenant:acme"), "speech", used(1.5), result, 2.0)
    worker.write()
    assert stored() == (9.0, {"succeeded": 2, "failed": 1, "canceled": 1, "lost": 1, "returned": 1})


def test_a_killed_worker_leaves_what_its_attempts_had_used_when_it_wrote():
    worker = Worker()
    worker.running = [(run(), "speech", used(4.0), 8.0)]
    worker.write()
    assert stored() == (4.0, {"unfinished": 1})
    worker.running = []
    worker.book.add(run(), "speech", used(5.0), "succeeded", 9.0)
    worker.write()
    assert stored() == (5.0, {"succeeded": 1})


def test_an_attempt_over_midnight_counts_once_on_the_day_of_its_end():
    worker, tomorrow = Worker(), TODAY + timedelta(days=1)
    worker.running = [(run(), "speech", used(4.0), 8.0)]
    worker.write()
    worker.day = tomorrow
    worker.write()
    assert stored() == (0.0, {}) and stored(tomorrow, tomorrow) == (4.0, {"unfinished": 1})
    worker.running = []
    worker.book.add(run(), "speech", used(5.0), "succeeded", 9.0)
    worker.write()
    assert stored(TODAY, tomorrow) == (5.0, {"succeeded": 1})


def test_what_could_not_be_written_is_written_later(monkeypatch):
    worker, write_part = Worker(), usage_book.write_part
    worker.book.add(run(), "speech", used(1.0), "succeeded", 1.0)
    monkeypatch.setattr(usage_book, "write_part", lambda *_: 1 / 0)
    worker.write()
    assert "2026-11-30 was not written" in worker.lines[0] and stored() == (0.0, {})
    monkeypatch.setattr(usage_book, "write_part", write_part)
    worker.write()
    assert stored() == (1.0, {"succeeded": 1})


def test_an_attempt_that_ends_while_the_worker_writes_is_written_the_next_time(monkeypatch):
    worker, write_part = Worker(), usage_book.write_part
    worker.book.add(run(), "speech", used(1.0), "succeeded", 1.0)

    def end_one_more(*part):
        write_part(*part)
        worker.book.add(run(), "speech", used(2.0), "succeeded", 1.0)

    monkeypatch.setattr(usage_book, "write_part", end_one_more)
    worker.write()
    monkeypatch.setattr(usage_book, "write_part", write_part)
    worker.write()
    assert stored() == (3.0, {"succeeded": 2})


def test_running_attempts_of_a_worker_that_ends_are_lost_and_counted():
    worker = Worker()
    worker.running = [(run(), "speech", used(4.0), 8.0)]
    worker.book.end_running()
    worker.book.write()
    assert stored() == (4.0, {"lost": 1})


def test_nothing_is_written_without_news(monkeypatch):
    worker = Worker()
    worker.book.add(run(), "speech", used(1.0), "succeeded", 1.0)
    worker.write()
    monkeypatch.setattr(usage_book, "write_part", lambda *_: 1 / 0)
    worker.write()
    assert worker.lines == []


def test_the_end_of_an_attempt_wakes_the_writer(monkeypatch):
    monkeypatch.setattr(usage_book, "_WRITE_DELAY_S", 0.01)
    worker = Worker()
    worker.day = datetime.now(UTC).date()

    async def story():
        writing = asyncio.create_task(worker.book.write_forever())
        await asyncio.sleep(0)
        worker.book.add(run(), "speech", used(1.0), "succeeded", 1.0)
        while stored(worker.day, worker.day)[0] != 1.0:
            await asyncio.sleep(0.01)
        writing.cancel()

    asyncio.run(asyncio.wait_for(story(), 20))
