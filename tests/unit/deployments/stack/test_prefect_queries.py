"""Queries of flow runs by flow and by tag: the same rows as Prefect's own, read by indexes."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.orm_models import Base
from prefect.server.models import flow_runs
from prefect.server.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.server.schemas.sorting import FlowRunSort
from prefect.server.utilities import database

from deployments.stack.prefect_indexes import create_missing
from deployments.stack.prefect_queries import filter_by_flow_ids, search_tags_as_text

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ODD_TAGS = (
    'say "hi"',
    "back\\slash",
    "müller",
    "tab\there",
    "line\nbreak",
    "a",
    "tenant:a",
    "tenant:ab",
    "50%",
    "x*?[y]",
)


@pytest.fixture
def patched(monkeypatch):
    # taken back afterwards: other tests of this process have servers of their own
    for operator, translate in dict(database._sqlite_json_operator_map).items():
        monkeypatch.setitem(database._sqlite_json_operator_map, operator, translate)
    for name in ("read_flow_runs", "count_flow_runs"):
        monkeypatch.setattr(flow_runs, name, getattr(flow_runs, name))
    return lambda: (filter_by_flow_ids(), search_tags_as_text())


class Database:
    """Prefect's tables in a file of SQLite, with flows and runs."""

    def __init__(self, path):
        self.configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{path}/prefect.db")
        self.flows, self.runs, self.statements = {}, {}, []

    async def __aenter__(self):
        self.engine = await self.configuration.engine()
        async with self.engine.begin() as connection:
            # its model defines an index twice
            tables = [table for table in Base.metadata.sorted_tables if table.name != "artifact"]
            await connection.run_sync(partial(Base.metadata.create_all, tables=tables))
        sa.event.listen(self.engine.sync_engine, "before_cursor_execute", self._record)
        return self

    async def __aexit__(self, *_):
        await self.engine.dispose()

    def _record(self, _connection, _cursor, statement, parameters, *_):
        self.statements.append((statement, parameters))

    async def add(self, *runs):
        """Add runs, each given as flow, state, tags and hours before NOW; `tags` may be stored text."""
        async with self.engine.begin() as connection:
            for flow, state, tags, hours in runs:
                if flow not in self.flows:
                    self.flows[flow] = str(uuid4())
                    await connection.execute(
                        sa.text("INSERT INTO flow (id, name) VALUES (:id, :name)"),
                        {"id": self.flows[flow], "name": flow},
                    )
                run, due = str(uuid4()), (NOW - timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S.%f")
                self.runs[run] = len(self.runs)
                await connection.execute(
                    sa.text(
                        "INSERT INTO flow_run"
                        " (id, name, flow_id, state_type, expected_start_time, end_time, tags,"
                        " total_run_time) VALUES (:id, 'run', :flow, :state, :due, :due, :tags, :none)"
                    ),
                    {
                        "id": run,
                        "flow": self.flows[flow],
                        "state": state,
                        "due": due,
                        "none": "1970-01-01 00:00:00.000000",
                        "tags": tags if isinstance(tags, str) else json.dumps(tags),
                    },
                )

    async def find(self, **options):
        """Return the numbers of the found runs, in their order."""
        session = await self.configuration.session(self.engine)
        async with session:
            found = await flow_runs.read_flow_runs(session, **options)
            return [self.runs[str(run.id)] for run in found]

    async def count(self, **options):
        session = await self.configuration.session(self.engine)
        async with session:
            return await flow_runs.count_flow_runs(session, **options)

    async def plan(self):
        """Return SQLite's plan of the last statement on runs."""
        statement, parameters = next(one for one in reversed(self.statements) if "FROM flow_run" in one[0])
        async with self.engine.connect() as connection:
            raw = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return "\n".join(row[3] for row in raw)


def tagged(**tags):
    return FlowRunFilter(tags=FlowRunFilterTags(**tags))


def of(*names):
    return FlowFilter(name=FlowFilterName(any_=list(names)))


def in_state(*types):
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))


@pytest.mark.parametrize("stored", [json.dumps, lambda tags: json.dumps(tags, ensure_ascii=False)])
def test_tags_match_as_before_whatever_they_contain(patched, tmp_path, stored):
    lists = [[tag] for tag in ODD_TAGS] + [list(ODD_TAGS), ["a", "tenant:ab"], [], [", "], ['"a"']]
    filters = [
        tagged(**{kind: tags})
        for kind in ("all_", "any_")
        for tags in [*lists[:-3], ["a", "missing"], [], [", "]]
    ]

    async def story():
        async with Database(tmp_path) as runs:
            await runs.add(*(("speech", "COMPLETED", stored(tags), 0) for tags in lists))
            plain = [sorted(await runs.find(flow_run_filter=one)) for one in filters]
            patched()
            runs.engine.sync_engine.clear_compiled_cache()
            return plain, [sorted(await runs.find(flow_run_filter=one)) for one in filters], runs.statements

    before, after, statements = asyncio.run(story())
    assert before == after and sum(map(bool, after)) > 20
    assert any("likelihood" in statement for statement, _ in statements)


def test_runs_are_found_by_flow_as_before(patched, tmp_path):
    rows = [
        (("speech", "lip_sync", "notify")[n % 3], ("COMPLETED", "RUNNING")[n % 2], [f"n:{n % 5}"], n)
        for n in range(30)
    ]
    wanted = [
        {"flow_filter": flow, "flow_run_filter": run_filter, "sort": sort, "limit": limit}
        for flow in (of("speech"), of("speech", "lip_sync", "unknown"), of("unknown"), None)
        for run_filter in (None, in_state("RUNNING"), tagged(any_=["n:1"]))
        for sort in (FlowRunSort.EXPECTED_START_TIME_DESC, FlowRunSort.END_TIME_DESC)
        for limit in (3, 200)
    ]

    async def all_found(runs):
        counts = [
            await runs.count(flow_filter=one["flow_filter"], flow_run_filter=one["flow_run_filter"])
            for one in wanted
        ]
        return [await runs.find(**one) for one in wanted], counts

    async def story():
        async with Database(tmp_path) as runs:
            await runs.add(*rows)
            before = await all_found(runs)
            patched()
            return before, await all_found(runs)

    before, after = asyncio.run(story())
    assert before == after and any(after[0])


def test_lists_and_counts_use_the_indexes(patched, tmp_path):
    async def story():
        async with Database(tmp_path) as runs:
            await runs.add(("speech", "COMPLETED", ["tenant:a"], 0), ("lip_sync", "COMPLETED", [], 1))
            await create_missing(runs.engine)
            await create_missing(runs.engine)  # again does no harm
            patched()
            plans = {}
            newest = FlowRunSort.EXPECTED_START_TIME_DESC
            await runs.find(
                flow_filter=of("speech"), flow_run_filter=tagged(all_=["tenant:b"]), sort=newest, limit=20
            )
            plans["tenant"] = await runs.plan()
            await runs.find(
                flow_filter=of("speech", "lip_sync"),
                flow_run_filter=tagged(all_=["tenant:b", "tag:a"]),
                sort=newest,
                limit=20,
            )
            plans["tag"] = await runs.plan()
            await runs.find(
                flow_filter=of("lip_sync"),
                flow_run_filter=tagged(any_=["job:a", "job:b"]),
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=200,
            )
            plans["deliveries"] = await runs.plan()
            await runs.find(flow_filter=of("speech"), sort=newest, limit=20)
            plans["type"] = await runs.plan()
            await runs.find(
                flow_filter=of("speech"),
                flow_run_filter=in_state("COMPLETED"),
                sort=FlowRunSort.END_TIME_DESC,
                limit=50,
            )
            plans["last ones"] = await runs.plan()
            await runs.count(
                flow_filter=of("speech", "lip_sync"), flow_run_filter=in_state("RUNNING", "SCHEDULED")
            )
            plans["count"] = await runs.plan()
            return plans

    plans = asyncio.run(story())
    scanned = {
        name for name, plan in plans.items() if "SCAN flow_run USING INDEX musetalk_flow_run_tags" in plan
    }
    assert scanned == {"tenant", "tag", "deliveries", "type"}
    assert (
        "SEARCH flow_run USING INDEX musetalk_flow_run_end (flow_id=? AND state_type=?)" in plans["last ones"]
    )
    assert [name for name, plan in plans.items() if "TEMP B-TREE FOR ORDER BY" in plan] == []
    assert "musetalk_flow_run_end (flow_id=? AND state_type=?)" in plans["count"]


def test_filters_of_task_runs_and_of_many_flows_are_left_to_prefect(patched, monkeypatch):
    asked = []

    async def original(session, **options):
        asked.append(options)

    class Session:
        async def execute(self, _):
            return self

        def scalars(self):
            return self

        def all(self):
            return list(range(101))

    monkeypatch.setattr(flow_runs, "read_flow_runs", original)
    filter_by_flow_ids()
    asyncio.run(flow_runs.read_flow_runs(Session(), flow_filter=of("a"), task_run_filter="some"))
    asyncio.run(flow_runs.read_flow_runs(Session(), flow_filter=of("a")))

    assert [one["flow_filter"] for one in asked] == [of("a"), of("a")]
