"""
The Prefect server that `musetalk up` starts: Prefect's own, with a SQLite that waits for its turn.

Prefect begins most of its transactions on SQLite deferred. One that reads first and writes then fails at once
when another has committed in between: the request is answered with 503, and whoever asked sleeps two seconds
and more before trying again. Begun immediate, such a transaction waits for the lock: some milliseconds.
PostgreSQL is not concerned. Measured in docs/LOG.md.
"""

from contextlib import AbstractAsyncContextManager
from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


def create_app() -> "FastAPI":
    """Make the server's application, for `uvicorn --factory deployments.server:create_app`."""
    from prefect.server.api.server import create_app as prefect_app

    begin_immediately()
    return prefect_app()


def begin_immediately() -> None:
    """Have every transaction of this process on Prefect's SQLite take the write lock when it begins."""
    from prefect.server.database.configurations import AioSqliteConfiguration as Sqlite

    begin = Sqlite.begin_transaction

    @wraps(begin)
    def immediate(
        self: Sqlite, session: "AsyncSession", with_for_update: bool = True
    ) -> "AbstractAsyncContextManager[AsyncSessionTransaction]":
        del with_for_update
        return begin(self, session, with_for_update=True)

    Sqlite.begin_transaction = immediate  # pyright: ignore[reportAttributeAccessIssue]  on purpose
