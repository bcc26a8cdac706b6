"""The worker slot of a waiting batch or pipeline, on a real server."""

import pytest
from prefect.exceptions import Abort
from prefect.states import Pending, Running, Scheduled, Suspended

from flows.orchestration.pool_slot import PoolSlot

POOL = "pool-slots"


@pytest.fixture
def client(client_with_pool):
    return client_with_pool(POOL)


def test_an_attempt_ends_if_the_run_was_paused_and_another_attempt_has_resumed_it(client):
    deployment = client.create_deployment(client.create_flow_from_name(POOL), POOL, work_pool_name=POOL)
    run = client.create_flow_run_from_deployment(deployment).id
    for state in (Pending(), Running()):
        client.set_flow_run_state(run, state, force=True)
    slot = PoolSlot(client, client.read_flow_run(run))
    slot.wait_or_yield()
    for state in (Suspended(), Scheduled(name="Resuming"), Pending(), Running()):
        client.set_flow_run_state(run, state, force=True)
    with pytest.raises(Abort, match="another attempt"):
        slot.wait_or_yield()
