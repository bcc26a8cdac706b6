"""Kill workers and the server on PostgreSQL under a tenant limit: all runs end, and all slots come back."""

import time

import pytest
from own_postgres import own_database
from prefect.client.schemas.objects import StateType
from stage import eventually, serving
from test_chaos import Keeper, once
from webhook_stage import submit

from deployments.warm_worker.queue.tenant_limits import LEASE_S

pytestmark = [pytest.mark.stack, pytest.mark.slow]

TENANT = "limited"
LIMIT = 2
JOBS = 9
WEBHOOKS = 3
CLEAN_AFTER_S = 60.0
SLOTS_AFTER_S = LEASE_S + 30.0
"""A worker that dies between taking a slot and claiming a run leaves a lease that only expires."""
TOLD_AFTER_S = 120.0
"""The first events after the restart wait 30 s, and one process runs the deliveries one after the other."""
UNFINISHED = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.SCHEDULED}


@pytest.fixture
def own_server(tmp_path):
    """A server on PostgreSQL; replaces the server on SQLite in the fixtures that build on it."""
    with own_database() as database, serving(tmp_path, database) as server:
        yield server


def test_runs_end_and_slots_come_back_within_a_minute_of_the_last_restart(
    own_server, light_worker, workers, receiver, tmp_path
):
    name = f"tenant:{TENANT}"
    with own_server.client() as client:
        limit = {"name": name, "limit": LIMIT}
        client._client.post("/v2/concurrency_limits/", json=limit).raise_for_status()
    pool = own_server.pool("jobs")
    keeper = Keeper(pool, tmp_path, workers)
    light = light_worker()

    def kill_light():
        nonlocal light
        light.process.kill()
        light.process.wait()
        light = light_worker()

    def kill_server():
        own_server.kill()
        own_server.start()

    outputs = [tmp_path / f"{number}.txt" for number in range(JOBS)]
    for number, path in enumerate(outputs):
        if number < JOBS - WEBHOOKS:
            pool.submit("write_once", tags=[name], path=str(path), seconds=1.0)
        else:
            submit(pool, receiver.url, "write_once", tags=[name], path=str(path), seconds=1.0)
    for kill in (keeper.kill_worker, kill_light, kill_server, keeper.kill_worker):
        eventually(lambda: pool.count("RUNNING") > 0, 2 * CLEAN_AFTER_S)
        kill()
    keeper.worker.wait_ready()
    restarted = time.monotonic()

    with own_server.client() as client:

        def unfinished(pools):
            runs = client.read_flow_runs()
            return [
                f"{run.name}: {run.state}"
                for run in runs
                if run.work_pool_name in pools and not run.auto_scheduled and run.state_type in UNFINISHED
            ]

        def is_told():
            return len({got.id for got in receiver.got}) == WEBHOOKS

        def taken():
            return client.read_global_concurrency_limit_by_name(name).active_slots

        def is_late():
            return time.monotonic() - restarted > CLEAN_AFTER_S

        eventually(lambda: not unfinished([pool.name]) or is_late(), 2 * CLEAN_AFTER_S)
        assert unfinished([pool.name]) == []
        eventually(lambda: not taken(), SLOTS_AFTER_S)
        eventually(lambda: is_told() and not unfinished(["light"]), TOLD_AFTER_S)
        ended = {run.state_type for run in client.read_flow_runs() if not run.auto_scheduled}
        assert ended == {StateType.COMPLETED}
    assert once(outputs)
