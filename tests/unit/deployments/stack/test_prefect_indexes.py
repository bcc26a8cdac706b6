"""Indexes of flow runs on PostgreSQL: created by one of several servers, and again if one broke off."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from own_postgres import own_database
from sqlalchemy.ext.asyncio import create_async_engine

from deployments.stack.prefect_indexes import INDEXES, create_missing

COLUMNS = (
    "id uuid DEFAULT gen_random_uuid(), flow_id uuid, state_type text, end_time timestamptz,"
    " idempotency_key text, tags jsonb"
)


@pytest.fixture
def database():
    with own_database() as address:
        yield address


def on(address, story):
    async def run():
        engine = create_async_engine(address)
        try:
            async with engine.begin() as connection:
                await connection.execute(sa.text(f"CREATE TABLE flow_run ({COLUMNS})"))
            return await story(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


async def valid_indexes(engine):
    async with engine.connect() as connection:
        rows = await connection.execute(
            sa.text(
                "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
                " WHERE indrelid = 'flow_run'::regclass AND indisvalid"
            )
        )
        return {row[0] for row in rows}


def test_servers_that_start_at_once_create_each_index_once(database):
    async def story(engine):
        await asyncio.gather(*(create_missing(engine) for _ in range(3)))
        first = await valid_indexes(engine)
        await create_missing(engine)
        return first, await valid_indexes(engine)

    assert on(database, story) == (set(INDEXES["postgresql"]), set(INDEXES["postgresql"]))


def test_an_index_whose_creation_broke_off_is_created_again(database):
    async def story(engine):
        await create_missing(engine)
        async with engine.begin() as connection:
            await connection.execute(
                sa.text(
                    "UPDATE pg_index SET indisvalid = false"
                    " WHERE indexrelid = 'musetalk_flow_run_key'::regclass"
                )
            )
        broken = await valid_indexes(engine)
        await create_missing(engine)
        return broken, await valid_indexes(engine)

    broken, repaired = on(database, story)
    assert "musetalk_flow_run_key" not in broken and repaired == set(INDEXES["postgresql"])


def test_tags_are_searched_by_the_index(database):
    async def story(engine):
        await create_missing(engine)
        async with engine.begin() as connection:
            await connection.execute(
                sa.text(
                    "INSERT INTO flow_run (tags) SELECT CAST(:tags AS jsonb) FROM generate_series(1, 5000)"
                ),
                {"tags": json.dumps(["tenant:a", "notify"])},
            )
            await connection.execute(sa.text("ANALYZE flow_run"))
            await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))  # the table is small
            plan = await connection.execute(
                sa.text("EXPLAIN SELECT * FROM flow_run WHERE tags ?& CAST(ARRAY['tenant:b'] AS varchar[])")
            )
            return "\n".join(row[0] for row in plan)

    assert "musetalk_flow_run_tags" in on(database, story)
