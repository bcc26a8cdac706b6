"""Any-of queries are cut into chunks and merged."""

import asyncio
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from flows.prefect_state.queries import (
    MAX_FILTER_VALUES,
    PAGE_SIZE,
    chunks_of,
    read_any_of,
    read_any_of_async,
    read_by_key,
    read_by_key_async,
)


@dataclass(frozen=True)
class Run:
    id: UUID
    tags: tuple[str, ...]
    time: int


class Server:
    """Answers as Prefect's does: any of the values, newest first, at most a page."""

    def __init__(self, runs):
        self.runs, self.asked = sorted(runs, key=lambda run: -run.time), []

    def read(self, chunk, limit, offset):
        assert 0 < len(chunk) <= MAX_FILTER_VALUES and 0 < limit <= PAGE_SIZE
        self.asked.append((len(chunk), limit, offset))
        return [run for run in self.runs if set(run.tags) & set(chunk)][offset : offset + limit]


def tags(count):
    return [f"tag-{number}" for number in range(count)]


def newest(run):
    return -run.time


@pytest.fixture(params=["sync", "async"])
def read(request):
    if request.param == "sync":
        return lambda server, *words, **more: read_any_of(*words, server.read, **more)

    def awaited(server, values, **more):
        async def ask(*words):
            return server.read(*words)

        return asyncio.run(read_any_of_async(values, ask, **more))

    return awaited


def test_values_are_cut_into_chunks_without_repeats():
    assert [len(chunk) for chunk in chunks_of([*tags(250), *tags(250)])] == [100, 100, 50]
    assert [value for chunk in chunks_of(tags(250)) for value in chunk] == tags(250)
    assert list(chunks_of([])) == []


def test_no_values_match_nothing_and_ask_nothing(read):
    server = Server([Run(uuid4(), ("a",), 1)])
    assert read(server, []) == [] and server.asked == []


@pytest.mark.parametrize("count", [1, 99, 100, 101, 128, 400])
def test_every_row_is_read_once_however_many_values(read, count):
    runs = [Run(uuid4(), (tag,), number) for number, tag in enumerate(tags(count))]
    server = Server([*runs, Run(uuid4(), ("other",), 0)])
    assert {run.id for run in read(server, tags(count))} == {run.id for run in runs}


def test_a_row_that_matches_values_of_several_chunks_is_read_once(read):
    both = Run(uuid4(), ("tag-0", "tag-150"), 1)
    assert read(Server([both]), tags(200)) == [both]


def test_more_rows_than_an_answer_holds_are_read_page_by_page(read):
    runs = [Run(uuid4(), ("tag-0", "tag-120"), number) for number in range(2 * PAGE_SIZE + 1)]
    server = Server(runs)
    assert len(read(server, tags(128))) == len(runs)
    assert [offset for _, _, offset in server.asked] == [0, PAGE_SIZE, 2 * PAGE_SIZE] * 2


def test_the_order_holds_over_all_chunks(read):
    runs = [Run(uuid4(), (tags(300)[(number * 7) % 300],), number) for number in range(300)]
    found = read(Server(runs), tags(300), order=newest)
    assert [run.time for run in found] == list(reversed(range(300)))


@pytest.mark.parametrize("limit", [1, 5, 150, 250, 1000])
def test_a_limit_gives_the_first_of_all_chunks(read, limit):
    # the newest are all in the last chunk, and some match values of every chunk
    runs = [Run(uuid4(), (tags(300)[number // 2], "tag-299"), number) for number in range(600)]
    found = read(Server(runs), tags(300), order=newest, limit=limit)
    assert [run.time for run in found] == list(reversed(range(600)))[:limit]


def test_a_limit_without_an_order_is_refused(read):
    with pytest.raises(ValueError, match="order"):
        read(Server([]), tags(3), limit=5)


class MovingSet:
    """Rows in ascending order of their time, some of which leave after each request."""

    def __init__(self, rows, leaving=0):
        self.rows, self.leaving = sorted(rows, key=lambda row: row.time), leaving

    def read(self, after, limit, offset):
        page = [row for row in self.rows if after is None or row.time >= after][offset : offset + limit]
        del self.rows[: self.leaving]
        return page


@pytest.mark.parametrize("leaving", [0, 1, 150])
def test_rows_that_leave_the_result_make_no_others_skipped(leaving):
    rows = [Run(uuid4(), (), number // 2) for number in range(3 * PAGE_SIZE + 7)]

    assert read_by_key(lambda row: row.time, MovingSet(rows, leaving).read) == rows


@pytest.mark.parametrize("count", [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE])
def test_rows_of_one_moment_are_read_whole(count):
    rows = [Run(uuid4(), (), 5) for _ in range(count)] + [Run(uuid4(), (), 6)]

    async def read(*request):
        return MovingSet(rows).read(*request)

    assert asyncio.run(read_by_key_async(lambda row: row.time, read)) == rows
