"""Claims of runs that changed after a worker had read them as queued, on a real server."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.states import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

from deployments.warm_worker.queue.claim import claim_run
from deployments.warm_worker.run_states import RunStateWriter

POOL = "claims"


@pytest.fixture
def client(client_with_pool):
    return client_with_pool(POOL)


@pytest.fixture
def make(client):
    """A function that makes a run and moves it through states; gives its id."""
    deployment = client.create_deployment(client.create_flow_from_name(POOL), POOL, work_pool_name=POOL)

    def make(*states):
        run = client.create_flow_run_from_deployment(deployment).id
        for state in states:
            client.set_flow_run_state(run, state, force=True)
        return run

    return make


def claim(run):
    async def act():
        async with get_client() as client:
            return await claim_run(client, run, "late", "warm-process", None)

    return asyncio.run(act())


ENDS = (Completed(message="done"), Failed(message="no"), Crashed(message="gone"), Cancelled(message="stop"))


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
def test_a_run_that_has_ended_since_it_was_read_stays_as_it_ended(client, make, end):
    """Prefect accepts the change from Completed, Failed and Crashed to Pending."""
    run = make(Pending(), Running(), end)
    assert not claim(run)
    found = client.read_flow_run(run)
    assert (found.state_type, found.state.message) == (end.type, end.message)
    assert found.run_count == 1


def test_a_run_that_was_started_again_after_its_end_is_claimed(client, make):
    run = make(Pending(), Running(), Failed(), Scheduled())
    assert claim(run) and client.read_flow_run(run).state_name == "Submitting"


def test_a_worker_that_dies_between_such_a_claim_and_its_withdrawal_leaves_no_second_attempt(client, make):
    run = make(Pending(), Running(), Completed(message="done"), Pending(message="claimed late"))

    async def reap():
        async with get_client() as client:
            observed = await client.read_flow_run(run)
            return await RunStateWriter(client).requeue_or_crash(observed, "its worker ended", 5)

    assert asyncio.run(reap()).is_completed()
    assert client.read_flow_run(run).state.message == "done"


def test_a_run_that_was_paused_since_it_was_read_ends_no_worker(client, make):
    """Prefect's client then raises Pause, which is no Exception."""
    run = make(Suspended(pause_expiration_time=datetime.now(UTC) + timedelta(days=1)))
    assert not claim(run)
    assert client.read_flow_run(run).state_name == "Suspended"
