"""Values that expire: one load at a time, before they expire, and less often when loads are slow."""

import asyncio
from functools import wraps
from types import SimpleNamespace

import pytest

from api.orchestrator import queue_estimates
from api.orchestrator.queue_estimates import TtlValue


class Source:
    """Counts loads, which take time on a clock of their own and end when they may."""

    def __init__(self):
        self.now, self.loads, self.takes_s, self.error = 100.0, 0, 0.0, None
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def load(self):
        self.loads += 1
        number = self.loads
        await self.may_end.wait()
        self.now += self.takes_s
        if self.error:
            raise self.error
        return number


@pytest.fixture
def source(monkeypatch):
    made = Source()
    monkeypatch.setattr(queue_estimates, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def in_event_loop(test):
    """Run an async test."""

    @wraps(test)
    def run(source):
        asyncio.run(test(source))

    return run


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@in_event_loop
async def test_readers_at_once_share_a_load(source):
    value = TtlValue(source.load, 1.0)
    source.may_end.clear()
    readers = [asyncio.create_task(value.get()) for _ in range(5)]
    await settle()
    readers[0].cancel()
    source.may_end.set()

    assert await asyncio.gather(*readers[1:]) == [1] * 4 and source.loads == 1


@in_event_loop
async def test_a_value_is_loaded_in_the_background_before_it_expires(source):
    value = TtlValue(source.load, 1.0)
    assert await value.get() == 1
    source.now += 0.4
    assert await value.get() == 1 and source.loads == 1
    source.now += 0.2
    source.may_end.clear()
    assert [await value.get() for _ in range(3)] == [1, 1, 1]
    await settle()
    source.may_end.set()
    await settle()

    assert source.loads == 2 and await value.get() == 2
    source.now += 1.1
    assert await value.get() == 3


@in_event_loop
async def test_slow_loads_take_a_fifth_of_the_time(source):
    value = TtlValue(source.load, 1.0)
    source.takes_s = 0.5
    for _ in range(400):
        await value.get()
        await settle()
        source.now += 0.1

    seconds = source.now - 100
    assert seconds / 4 <= source.loads and 0.5 * source.loads <= seconds / 5 + 0.5


@in_event_loop
async def test_an_error_reaches_those_who_wait_and_keeps_a_value_that_is_valid(source):
    value = TtlValue(source.load, 1.0)
    source.error = OSError("away")
    with pytest.raises(OSError, match="away"):
        await value.get()
    source.error = None
    assert await value.get() == 2
    source.now += 0.6
    source.error = OSError("away")
    assert await value.get() == 2
    await settle()
    assert source.loads == 3 and await value.get() == 2
    source.now += 0.5
    with pytest.raises(OSError, match="away"):
        await value.get()
