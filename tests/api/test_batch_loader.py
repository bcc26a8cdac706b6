"""Questions are put together while another is on its way, and each asker gets its own answer."""

import asyncio

import pytest

from api.orchestrator.batch_loader import BatchLoader


class Oracle:
    """Squares of numbers, 20 ms a question; knows none above 100 and breaks on 13."""

    def __init__(self):
        self.asked = []

    async def __call__(self, numbers):
        self.asked.append(list(numbers))
        await asyncio.sleep(0.02)
        if 13 in numbers:
            raise ValueError("thirteen")
        return {number: number**2 for number in numbers if number <= 100}


def test_what_comes_meanwhile_is_one_question():
    async def scene():
        oracle = Oracle()
        together = BatchLoader(oracle, max_batch_size=100)
        first = asyncio.create_task(together.load(1))
        await asyncio.sleep(0.005)
        rest = await asyncio.gather(*(together.load(n) for n in (2, 3, 3, 200)))
        return await first, rest, oracle.asked

    assert asyncio.run(scene()) == (1, [4, 9, 9, None], [[1], [2, 3, 200]])


def test_no_question_is_larger_than_allowed():
    async def scene():
        oracle = Oracle()
        together = BatchLoader(oracle, max_batch_size=3)
        answers = await asyncio.gather(*(together.load(n) for n in range(8)))
        return answers, [len(one) for one in oracle.asked]

    answers, sizes = asyncio.run(scene())
    assert answers == [n**2 for n in range(8)] and sum(sizes) == 8 and max(sizes) == 3


def test_an_error_reaches_those_who_asked_and_nobody_after_them():
    async def scene():
        together = BatchLoader(Oracle(), max_batch_size=100)
        bad = await asyncio.gather(together.load(13), together.load(4), return_exceptions=True)
        return bad, await together.load(5)

    bad, good = asyncio.run(scene())
    assert all(isinstance(one, ValueError) for one in bad) and good == 25


def test_one_who_leaves_takes_nothing_from_the_others():
    async def scene():
        together = BatchLoader(Oracle(), max_batch_size=100)
        leaver, stayer = (asyncio.create_task(together.load(7)) for _ in range(2))
        await asyncio.sleep(0.005)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        return await stayer

    assert asyncio.run(scene()) == 49
