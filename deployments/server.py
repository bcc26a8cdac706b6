"""
The Prefect server that `musetalk up` starts: Prefect's own, with a SQLite that waits for its turn.

Prefect begins most of its transactions on SQLite deferred. One that reads first and writes then fails at once
when another has committed in between: the request is answered with 503, and whoever asked sleeps two seconds
and more before trying again. Begun immediate, such a transaction waits for the lock: some milliseconds.
PostgreSQL is not concerned. Measured in docs/LOG.md.

Prefect runs its background services from an in-memory queue that it polls four times a second. No service
runs more often than every few seconds, so one poll per second is enough.
"""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


SERVICE_POLL_INTERVAL: Final = timedelta(seconds=1)
"""Interval of the polls of that queue."""


def create_app() -> "FastAPI":
    """Make the server's application, for `uvicorn --factory deployments.server:create_app`."""
    from prefect.server.api.server import create_app as prefect_app

    begin_immediately()
    slow_service_polling()
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


def slow_service_polling() -> None:
    """Set the poll interval of the queue of Prefect's background services to one second."""
    from docket import Worker
    from prefect.server.api import background_workers

    background_workers.Worker = partial(  # pyright: ignore[reportAttributeAccessIssue, reportPrivateImportUsage]  on purpose
        Worker, minimum_check_interval=SERVICE_POLL_INTERVAL, scheduling_resolution=SERVICE_POLL_INTERVAL
    )
