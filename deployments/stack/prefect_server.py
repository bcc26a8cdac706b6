"""
The Prefect server of `musetalk up` and `musetalk server`: Prefect's server with five changes.

SQLite transactions begin IMMEDIATE. Prefect begins most of them DEFERRED: a transaction that reads and then
writes fails at once if another one has committed in between, the request is answered with 503, and the client
sleeps two seconds or more before it retries. An immediate transaction waits for the lock instead, a few
milliseconds. PostgreSQL is not affected. Measurements: docs/LOG.md.

Labels of a run are merged under a lock of its row. Prefect reads all labels, adds the new ones and writes all
of them: on PostgreSQL, one of two concurrent updates is lost without the lock.

The queue of the background services is polled once a second. Prefect polls this in-memory queue four times a
second, although no service runs more often than every few seconds.

An event whose predecessor is unknown waits 15 seconds for it. Prefect waits 15 minutes. After a restart, the
predecessors of the events of all queued and running jobs are unknown to the new process: their automations,
which enqueue webhooks and cancel child jobs, would be that late. Events of one process arrive in order, so
that a longer wait finds none. With Redis, known events are stored there; but a killed server loses the events
that it has not sent, and their followers would wait as long. A queued job whose requeue is not seen for two
minutes counts as lost.

Flow runs have more indexes, and queries of runs by flow and by tag use them: see `prefect_indexes` and
`prefect_queries`.
"""

import asyncio
import contextlib
import signal
import sys
from argparse import ArgumentParser
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

from deployments.stack.prefect_indexes import create_indexes
from deployments.stack.prefect_queries import filter_by_flow_ids, search_tags_as_text

if TYPE_CHECKING:
    from uuid import UUID

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


SERVICE_POLL_INTERVAL: Final = timedelta(seconds=1)
"""Poll interval of the background services' queue."""
PRECEDING_EVENT_WAIT: Final = timedelta(seconds=15)
"""How long an event waits for the event that it follows."""


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit with status 0, because a requested stop is no failure."""
    import uvicorn

    parser = ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    # uvicorn shuts down and then raises the signal again
    signal.signal(signal.SIGTERM, _exit_on_signal)
    uvicorn.run(
        "deployments.stack.prefect_server:create_app",
        factory=True,
        host=options.host,
        port=options.port,
        timeout_keep_alive=5,
        log_level="warning",
    )


def _exit_on_signal(*_: object) -> NoReturn:
    sys.exit(0)


def create_app() -> "FastAPI":
    """Return the ASGI application of the server, for `uvicorn --factory`."""
    from prefect.server.api.server import create_app as prefect_app

    use_immediate_transactions()
    lock_label_updates()
    slow_service_polling()
    shorten_event_wait()
    filter_by_flow_ids()
    search_tags_as_text()
    app = prefect_app()
    app.router.lifespan_context = _with_indexes(app.router.lifespan_context)
    return app


def _with_indexes(lifespan: Any) -> Any:
    """Return a lifespan that creates the indexes in the background, after the migrations."""

    @asynccontextmanager
    async def with_indexes(app: "FastAPI") -> AsyncGenerator[Any]:
        async with lifespan(app) as state:
            creation = asyncio.create_task(create_indexes(), name="indexes of flow runs")
            try:
                yield state
            finally:
                creation.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await creation

    return with_indexes


def use_immediate_transactions() -> None:
    """Make every SQLite transaction of Prefect in this process take the write lock when it begins."""
    from prefect.server.database.configurations import AioSqliteConfiguration as Sqlite

    original_begin = Sqlite.begin_transaction

    @wraps(original_begin)
    def immediate(
        self: Sqlite, session: "AsyncSession", with_for_update: bool = True
    ) -> "AbstractAsyncContextManager[AsyncSessionTransaction]":
        del with_for_update
        return original_begin(self, session, with_for_update=True)

    Sqlite.begin_transaction = immediate  # pyright: ignore[reportAttributeAccessIssue]  on purpose


def lock_label_updates() -> None:
    """Lock the row of a run before its labels are read, merged and written; SQLite ignores row locks."""
    import sqlalchemy as sa
    from prefect.server.database.orm_models import FlowRun
    from prefect.server.models import flow_runs

    original_update = flow_runs.update_flow_run_labels

    @wraps(original_update)
    async def locked(*, session: "AsyncSession", flow_run_id: "UUID", labels: dict[str, Any]) -> bool:
        await session.execute(sa.select(FlowRun.id).where(FlowRun.id == flow_run_id).with_for_update())
        return await original_update(session=session, flow_run_id=flow_run_id, labels=labels)

    flow_runs.update_flow_run_labels = locked


def slow_service_polling() -> None:
    """Poll the queue of Prefect's background services once a second."""
    from docket import Worker
    from prefect.server.api import background_workers

    background_workers.Worker = partial(  # pyright: ignore[reportAttributeAccessIssue, reportPrivateImportUsage]  on purpose
        Worker, minimum_check_interval=SERVICE_POLL_INTERVAL, scheduling_resolution=SERVICE_POLL_INTERVAL
    )


def shorten_event_wait() -> None:
    """Evaluate the triggers of an event after PRECEDING_EVENT_WAIT if its predecessor has not arrived."""
    from prefect.server.events.ordering import memory
    from prefect.settings import get_current_settings

    memory.PRECEDING_EVENT_LOOKBACK = PRECEDING_EVENT_WAIT  # pyright: ignore[reportPrivateImportUsage]
    configured: Any = import_module(get_current_settings().server.events.causal_ordering)
    configured.PRECEDING_EVENT_LOOKBACK = PRECEDING_EVENT_WAIT


if __name__ == "__main__":
    main()
