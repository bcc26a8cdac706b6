"""A requeue whose response was lost is not repeated after another worker has claimed the run."""

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Pending, Running, Scheduled

from deployments.warm_worker.run_states import RunStateWriter


class Server:
    """A server with one run that a worker executes; what `on_set` raises is the fate of a response."""

    def __init__(self, on_set):
        self.id, self.history, self._on_set = uuid4(), [Scheduled(), Pending(), Running()], on_set

    async def read_flow_run(self, _):
        state = self.history[-1]
        return SimpleNamespace(
            id=self.id,
            state=state,
            state_id=state.id,
            state_type=state.type,
            state_name=state.name,
            labels={},
        )

    async def read_flow_run_states(self, _):
        return list(self.history)

    async def set_flow_run_state(self, _, state, force):
        assert force
        self.history.append(state)
        self._on_set(self)
        return SimpleNamespace(status=SetStateStatus.ACCEPT)


def lost_once(then=()):
    """Lose the first response; meanwhile the run gets other states."""
    lost = []

    def on_set(server):
        if not lost:
            lost.append(True)
            server.history += then
            raise httpx.ReadTimeout("no response")

    return on_set


async def hand_back(server):
    return await RunStateWriter(server).requeue(server.id, "Its worker was shut down.")


async def reap(server):
    return await RunStateWriter(server).requeue_or_crash(
        await server.read_flow_run(server.id), "its worker ended", 5
    )


@pytest.mark.parametrize(("requeue", "queued"), [(hand_back, "Rescheduled"), (reap, "AwaitingRetry")])
def test_a_run_that_was_claimed_meanwhile_is_not_queued_again(requeue, queued):
    server = Server(lost_once(then=[Pending(), Running()]))

    assert asyncio.run(requeue(server)) is None

    names = [state.name for state in server.history]
    assert names == ["Scheduled", "Pending", "Running", queued, "Pending", "Running"]


@pytest.mark.parametrize("requeue", [hand_back, reap])
def test_a_requeue_whose_response_was_lost_is_known_to_be_written(requeue):
    server = Server(lost_once())

    state = asyncio.run(requeue(server))

    assert (
        state is not None
        and state.is_scheduled()
        and server.history[-1] is state
        and len(server.history) == 4
    )


@pytest.mark.parametrize("requeue", [hand_back, reap])
def test_a_run_is_queued_again_once(requeue):
    server = Server(lambda _: None)

    assert asyncio.run(requeue(server)).is_scheduled() and len(server.history) == 4
