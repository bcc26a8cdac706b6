"""The Prefect server on SQLite: a transaction that reads first and writes then is not refused."""

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from own_redis import HOST, own_redis
from prefect.settings import PREFECT_SERVER_EVENTS_CAUSAL_ORDERING, temporary_settings

from deployments.stack.prefect_server import (
    PRECEDING_EVENT_WAIT,
    shorten_event_wait,
    slow_service_polling,
    use_immediate_transactions,
)


@pytest.fixture
def sqlite(tmp_path, monkeypatch):
    from prefect.server.database.configurations import AioSqliteConfiguration

    # taken back afterwards: other tests of this process have servers of their own
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", AioSqliteConfiguration.begin_transaction)
    return AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/prefect.db")


async def read_then_write(sqlite, count):
    """Read and write in concurrent requests and return the errors."""

    async def request(number):
        engine = await sqlite.engine()
        session = await sqlite.session(engine)
        async with session, sqlite.begin_transaction(session):
            known = (await session.execute(sa.text("SELECT max(n) FROM counted"))).scalar_one()
            await asyncio.sleep(0.05)
            await session.execute(sa.text("INSERT INTO counted VALUES (:n)"), {"n": known + 1})

    engine = await sqlite.engine()
    async with engine.connect() as connection:
        await connection.execute(sa.text("CREATE TABLE counted (n INTEGER)"))
        await connection.execute(sa.text("INSERT INTO counted VALUES (0)"))
        await connection.commit()
    ended = await asyncio.gather(*(request(n) for n in range(count)), return_exceptions=True)
    async with engine.connect() as connection:
        last = (await connection.execute(sa.text("SELECT max(n) FROM counted"))).scalar_one()
    await engine.dispose()
    return [error for error in ended if error], last


def test_of_two_that_read_and_then_write_none_is_refused(sqlite):
    use_immediate_transactions()
    use_immediate_transactions()  # again does no harm

    errors, last = asyncio.run(read_then_write(sqlite, 4))

    assert (errors, last) == ([], 4)


def test_prefect_still_refuses_one_without_it(sqlite):
    errors, _ = asyncio.run(read_then_write(sqlite, 4))

    assert any("database is locked" in str(error) for error in errors), (
        "deployments.stack.prefect_server is not needed"
    )


def test_the_servers_services_are_looked_for_once_a_second(monkeypatch):
    from docket import Docket
    from prefect.server.api import background_workers

    monkeypatch.setattr(background_workers, "Worker", background_workers.Worker)  # taken back afterwards
    slow_service_polling()

    worker = background_workers.Worker(Docket(url="memory://"))
    assert worker.minimum_check_interval == worker.scheduling_resolution == timedelta(seconds=1)
    assert "Worker(docket)" in inspect.getsource(background_workers.background_worker)


@pytest.fixture
def redis_events(monkeypatch):
    """Settings of a server whose messages go through an empty database of a real Redis."""
    with own_redis() as number:
        monkeypatch.setenv("PREFECT_REDIS_MESSAGING_HOST", HOST)
        monkeypatch.setenv("PREFECT_REDIS_MESSAGING_DB", str(number))
        with temporary_settings({PREFECT_SERVER_EVENTS_CAUSAL_ORDERING: "prefect_redis.ordering"}):
            yield


def test_an_event_whose_predecessor_an_earlier_process_saw_waits_seconds(monkeypatch):
    from prefect.server.events.ordering import memory

    waits_seconds(monkeypatch, memory)


def test_an_event_whose_predecessor_died_with_another_server_waits_seconds(monkeypatch, redis_events):
    from prefect_redis import ordering

    waits_seconds(monkeypatch, ordering)


def waits_seconds(monkeypatch, module):
    from prefect.server.events.ordering import EventArrivedEarly, memory
    from prefect.server.events.schemas.events import ReceivedEvent

    for one in (memory, module):  # taken back afterwards
        monkeypatch.setattr(one, "PRECEDING_EVENT_LOOKBACK", one.PRECEDING_EVENT_LOOKBACK)
    shorten_event_wait()

    def event(age):
        return ReceivedEvent(
            occurred=datetime.now(UTC) - age,
            received=datetime.now(UTC) - age,
            event="prefect.flow-run.Completed",
            resource={"prefect.resource.id": f"prefect.flow-run.{uuid4()}"},
            id=uuid4(),
            follows=uuid4(),
        )

    async def story():
        ordering = module.CausalOrdering(scope=f"test-{uuid4()}")
        early, late = event(PRECEDING_EVENT_WAIT / 2), event(PRECEDING_EVENT_WAIT)
        with pytest.raises(EventArrivedEarly):
            await ordering.wait_for_leader(early)
        await ordering.wait_for_leader(late)
        assert await ordering.get_lost_followers() == []
        await ordering.record_follower(late)
        assert await ordering.get_lost_followers() == [late]

    asyncio.run(story())
