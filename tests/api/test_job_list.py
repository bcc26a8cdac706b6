"""Lists by time of creation read the runs about that time, and those that were scheduled ahead."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from api.jobs.model import JobFilter
from api.orchestrator import job_list

NOW = datetime.now(UTC)
APART = timedelta(minutes=10)


def run_due(due, created=None, tags=()):
    return SimpleNamespace(id=uuid4(), expected_start_time=due, created=created or due, tags=list(tags))


class Connection:
    """Prefect with runs of six weeks; counts what it returns."""

    def __init__(self, *more):
        self.runs = [run_due(NOW - number * APART) for number in range(6048)] + list(more)
        self.returned = self.requests = 0

    async def read(self, call):
        return await call(self)

    async def read_flow_runs(self, *, flow_run_filter, sort, limit, offset, **_):
        assert sort == "EXPECTED_START_TIME_DESC"
        due, tags = flow_run_filter.expected_start_time, flow_run_filter.tags
        earliest, latest = (due.after_, due.before_) if due else (None, None)
        found = [
            run
            for run in sorted(self.runs, key=lambda run: run.expected_start_time, reverse=True)
            if (earliest is None or run.expected_start_time >= earliest)
            and (latest is None or run.expected_start_time <= latest)
            and (tags is None or set(tags.all_) <= set(run.tags))
        ][offset : offset + limit]
        self.requests, self.returned = self.requests + 1, self.returned + len(found)
        return found


def walk(connection, **options):
    """Walk a list to its end; returns the runs and the requests of its first page."""

    async def read():
        found, cursor, first = [], None, None
        while True:
            job_filter = JobFilter(cursor=cursor, **options)
            page = await job_list.list_runs(connection, job_filter, lambda _: True)
            first = first or connection.requests
            found += page.runs
            if (cursor := page.next) is None:
                return found, first

    return asyncio.run(read())


def in_range(connection, after, before):
    found = [run for run in connection.runs if after <= run.created <= before]
    return sorted(found, key=lambda run: run.expected_start_time, reverse=True)


def test_a_day_of_jobs_is_read_without_those_of_other_days():
    connection = Connection()
    after, before = NOW - timedelta(days=15), NOW - timedelta(days=14)

    found, first = walk(connection, limit=20, created_after=after, created_before=before)

    assert found == in_range(connection, after, before) and len(found) == 145
    # of the day, of an hour before and after it, and of a page again that ended at its limit of 20 jobs
    assert first <= 3 and connection.returned < 145 + 12 + 8 * 100


def test_jobs_that_were_scheduled_ahead_are_found_by_their_creation():
    created = NOW - timedelta(days=14, hours=1)
    ahead = [
        run_due(NOW + timedelta(days=3), created),
        run_due(NOW - timedelta(days=2), created, ["auto-scheduled"]),
        run_due(NOW - timedelta(days=13, hours=23, minutes=30), created),
    ]
    connection = Connection(*ahead)
    after, before = NOW - timedelta(days=15), NOW - timedelta(days=14)

    found, _ = walk(connection, limit=20, created_after=after, created_before=before)

    assert found == in_range(connection, after, before) and found[:3] == ahead


@pytest.mark.parametrize("limit", [1, 7, 200])
@pytest.mark.parametrize(
    ("after", "before"),
    [
        (None, timedelta(hours=5)),
        (timedelta(hours=9), None),
        (timedelta(hours=9), timedelta(minutes=1)),
        (None, -APART),
    ],
)
def test_ranges_are_walked_whole(limit, after, before):
    connection = Connection()
    connection.runs = connection.runs[:60] + [
        run_due(NOW + timedelta(hours=number), NOW - timedelta(hours=2 * number)) for number in range(1, 6)
    ]
    options = {
        "created_after": NOW - after if after else None,
        "created_before": NOW - before if before is not None else None,
    }

    found, _ = walk(connection, limit=limit, **options)

    earliest, latest = options["created_after"] or datetime.min.replace(tzinfo=UTC), options["created_before"]
    assert found == in_range(connection, earliest, latest or datetime.max.replace(tzinfo=UTC))


def test_a_search_that_takes_long_ends_with_a_cursor(monkeypatch):
    monkeypatch.setattr(job_list, "_MAX_SCAN_S", 0.0)
    connection = Connection()

    async def first_page():
        return await job_list.list_runs(
            connection, JobFilter(limit=20, created_after=NOW - timedelta(days=30)), lambda _: False
        )

    page = asyncio.run(first_page())
    assert page.runs == () and page.next is not None and connection.requests == 1
    assert walk(connection, limit=20, created_before=NOW - timedelta(days=41))[0]
