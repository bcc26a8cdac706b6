"""
Indexes that this project adds to Prefect's table of flow runs.

Prefect has none on tags and idempotency keys, and none that finds the last runs of one flow: with 120,000
runs such a read took seconds (docs/LOG.md). The indexes are created in the background. Prefect's migrations
do not know them, and all queries have the same results without them.
"""

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_RUNS_BY_END: Final = "musetalk_flow_run_end"
_RUNS_BY_KEY: Final = "musetalk_flow_run_key"
_RUNS_BY_TAG: Final = "musetalk_flow_run_tags"
_COMMON: Final = {
    _RUNS_BY_END: "flow_run (flow_id, state_type, end_time DESC)",
    _RUNS_BY_KEY: "flow_run (idempotency_key)",
}
INDEXES: Final = {
    "postgresql": _COMMON | {_RUNS_BY_TAG: "flow_run USING gin (tags)"},
    # SQLite cannot index the elements of an array: it scans this index, a quarter of the table
    "sqlite": _COMMON | {_RUNS_BY_TAG: "flow_run (expected_start_time DESC, flow_id, state_type, tags)"},
}
"""Definitions by database and name."""
_LOCK_ID: Final = 0x6D757365
"""Advisory lock of PostgreSQL: of several servers that start, one creates the indexes."""

_log = logging.getLogger(__name__)


async def create_indexes() -> None:
    """Create missing indexes in the database of this server; an error is logged, since reads work without."""
    try:
        from prefect.server.database.dependencies import provide_database_interface

        await create_missing(await provide_database_interface().engine())
    except Exception as error:
        _log.warning("indexes of flow runs were not created: %s", error, exc_info=error)


async def create_missing(engine: "AsyncEngine") -> None:
    """
    Create missing indexes.

    Args:
        engine: engine of Prefect's database. On PostgreSQL, the table can be written meanwhile; on SQLite, an
            index of 120,000 runs blocks writers for half a second, once.
    """
    from sqlalchemy import text

    kind = engine.dialect.name
    async with engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        if kind == "sqlite":
            for name, definition in INDEXES[kind].items():
                await connection.execute(text(f"CREATE INDEX IF NOT EXISTS {name} ON {definition}"))
            return
        locked = await connection.scalar(text("SELECT pg_try_advisory_lock(:id)"), {"id": _LOCK_ID})
        if not locked:
            return
        try:
            await _create_on_postgresql(connection)
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": _LOCK_ID})


async def _create_on_postgresql(connection: "AsyncConnection") -> None:
    from sqlalchemy import text

    for name, definition in INDEXES["postgresql"].items():
        is_valid = await connection.scalar(
            text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"), {"name": name}
        )
        if is_valid:
            continue
        if is_valid is False:  # a server ended while it created the index
            await connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
        await connection.execute(text(f"CREATE INDEX CONCURRENTLY {name} ON {definition}"))
