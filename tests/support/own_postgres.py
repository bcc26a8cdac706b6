"""A database of a test's own on a PostgreSQL of this machine; who wants it skips by name without one."""

import asyncio
import os
import socket
from contextlib import contextmanager
from uuid import uuid4

import pytest

POSTGRES = os.environ.get("MUSETALK_TEST_POSTGRES", "postgresql+asyncpg://postgres@127.0.0.1:5432")


def on_postgres(statement):
    """Say something to the database server itself."""
    import asyncpg

    async def say():
        connection = await asyncpg.connect(POSTGRES.replace("+asyncpg", "") + "/postgres", timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(say())


@contextmanager
def own_database():
    """Make one, and drop it afterwards; gives its address for SQLAlchemy."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", 5432)):
            pytest.skip("no PostgreSQL on 127.0.0.1:5432")
    name = f"musetalk_test_{uuid4().hex[:12]}"
    on_postgres(f"CREATE DATABASE {name}")
    try:
        yield f"{POSTGRES}/{name}"
    finally:
        on_postgres(f"DROP DATABASE {name} WITH (FORCE)")
