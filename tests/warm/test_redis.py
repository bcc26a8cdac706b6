"""A Prefect server whose messages go through a real Redis."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.events import filters
from prefect.events.clients import get_events_subscriber
from prefect.states import Scheduled
from prefect_settings import prefect_settings
from stage import Server, eventually

from deployments.provisioning.apply import apply
from deployments.stack.redis import messaging_environment
from flows.schemas.control import Control, Notify, tags_for
from tasks.settings import Settings
from tasks.settings.redis import RedisSettings

pytestmark = pytest.mark.stack
HOST = os.environ.get("MUSETALK_TEST_REDIS", "127.0.0.1")
PASSWORD = "any-will-do-for-a-redis-without-one"


@pytest.fixture
def redis():
    """An empty database of a Redis; it is empty again at the end."""
    pytest.importorskip("prefect_redis", reason="the extra redis is not installed")
    from redis import Redis
    from redis.exceptions import RedisError

    client = None
    for number in range(15, 0, -1):
        client = Redis(host=HOST, db=number, socket_connect_timeout=2, decode_responses=True)
        try:
            if not client.dbsize():
                break
        except RedisError:
            pytest.skip(f"no Redis answers at {HOST}")
    else:
        pytest.skip(f"no database of the Redis at {HOST} is empty")
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def server(redis, tmp_path):
    number = redis.connection_pool.connection_kwargs["db"]
    server = Server(tmp_path)
    server.environment |= messaging_environment(RedisSettings(host=HOST, db=number, password=PASSWORD))
    server.start()
    yield server
    server.kill()


async def ends_of(run_id, cancel):
    """The names of a run's events, up to the one that says that it was cancelled."""
    wanted = filters.EventFilter(resource=filters.EventResourceFilter(id=[f"prefect.flow-run.{run_id}"]))
    seen = []
    async with get_events_subscriber(filter=wanted) as subscriber:
        await asyncio.to_thread(cancel)
        async for event in subscriber:
            seen.append(event.event)
            if event.event == "prefect.flow-run.Cancelled":
                return seen
    return seen


def test_events_go_through_redis_to_watchers_and_automations(server, redis, tmp_path):
    with prefect_settings(api={"url": server.url}):
        apply(Settings(home=tmp_path))
    control = Control(notify=Notify(url="https://example.com/told"))
    with server.client() as client:
        deployment = client.read_deployment_by_name("lip_sync/Lip sync")
        run = client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"job": {"video": "s3://a/b.mp4", "audio": "s3://a/b.wav"}},
            tags=list(tags_for(control)),
            state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1)),
        )

    def cancel():
        with server.client() as client:
            from prefect.states import Cancelled

            client.set_flow_run_state(run.id, Cancelled())

    with prefect_settings(api={"url": server.url}):
        seen = asyncio.run(asyncio.wait_for(ends_of(run.id, cancel), 30))

    assert seen[-1] == "prefect.flow-run.Cancelled"

    def announced():
        with server.client() as client:
            return client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["announce"])))

    eventually(announced, 30)  # by the automation
    assert redis.type("events") == "stream"
    assert redis.xlen("events") > 0

    log = (server.folder / "server.log").read_text()
    assert "Traceback" not in log, log
    assert PASSWORD not in log
    assert PASSWORD not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
