"""A worker does not change the state of a run that another worker has claimed."""

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Completed, Pending, Running, Scheduled

from deployments.warm_worker.ownership import PROCESS_LABEL, WORKER_NAME_LABEL, RunOwner, claim_message
from deployments.warm_worker.run_states import CRASH_COUNT_LABEL, RunStateWriter


class Server:
    """A server with one run that a worker executes; what `on_set` raises is the fate of a response."""

    def __init__(self, on_set=lambda _: None, owner=None):
        self.id, self.history, self._on_set = uuid4(), [Scheduled(), Pending(), Running()], on_set
        self.labels = {} if owner is None else {WORKER_NAME_LABEL: owner.worker, PROCESS_LABEL: owner.process}

    async def read_flow_run(self, _):
        state = self.history[-1]
        return SimpleNamespace(
            id=self.id,
            state=state,
            state_id=state.id,
            state_type=state.type,
            state_name=state.name,
            labels=dict(self.labels),
        )

    async def read_flow_run_states(self, _):
        return list(self.history)

    async def update_flow_run_labels(self, _, labels):
        self.labels |= labels

    async def set_flow_run_state(self, _, state, force=False):
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


WRITES = {
    "requeue": lambda writer, run: writer.requeue(run, "Its worker was shut down."),
    "cancel": lambda writer, run: writer.set_cancelled(run, "The time limit was exceeded."),
    "cancelling": lambda writer, run: writer.set_cancelling(run, "The time limit was exceeded.", "max_time"),
    "crash": lambda writer, run: writer.set_crashed(run, "Its process ended."),
    "fail": lambda writer, run: writer.set_failed(run, "It could not be started."),
    "count": lambda writer, run: writer.count_crash(run),
}
OWNER, OTHER = RunOwner("gpu-0", "boot/1/1"), RunOwner("gpu-1", "boot/2/2")


@pytest.mark.parametrize("write", WRITES)
def test_after_an_outage_a_worker_leaves_its_former_run_to_the_worker_that_claimed_it(write):
    claimed_by_another, own = Server(owner=OTHER), Server(owner=OWNER)
    for server in (claimed_by_another, own):
        asyncio.run(WRITES[write](RunStateWriter(server, OWNER), server.id))

    assert len(claimed_by_another.history) == 3 and set(claimed_by_another.labels) == {
        WORKER_NAME_LABEL,
        PROCESS_LABEL,
    }
    assert len(own.history) == 4 or own.labels[CRASH_COUNT_LABEL] == 1


def test_the_worker_of_a_claim_without_labels_is_known_by_its_state():
    server = Server()
    server.history[-1] = Pending(message=claim_message(OTHER, "0a1b2c3d"))

    assert asyncio.run(RunStateWriter(server, OWNER).requeue(server.id, "Shut down.")) is None
    assert asyncio.run(RunStateWriter(server, OTHER).requeue(server.id, "Shut down.")).is_scheduled()


def test_an_end_that_came_between_the_last_read_and_the_requeue_is_restored():
    """A process may outlive its worker, and end the run at any time."""
    server, done, writes = Server(owner=OWNER), Completed(message="done"), []

    def end_first(_):
        if not writes:
            server.history.insert(-1, done)
        writes.append(server.history[-1].name)

    server._on_set = end_first
    assert asyncio.run(reap(server)) is None
    assert writes == ["AwaitingRetry", "Completed"] and server.history[-1] is done
