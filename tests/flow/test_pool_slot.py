"""The worker slot of a waiting batch or pipeline, on a real server."""

import threading
import time

import pytest
from prefect.exceptions import Abort
from prefect.states import Completed, Failed, Pending, Running, Scheduled, Suspended

from flows.orchestration import pool_slot
from flows.orchestration.child_events import ChildEvents
from flows.orchestration.pool_slot import FULL_POLL_INTERVAL_S, PoolSlot
from flows.prefect_state.labels import parent_tag

POOL = "pool-slots"


class NoEvents:
    """The events of a server without an event stream."""

    is_listening = False

    def wait(self, seconds):
        time.sleep(max(0.0, seconds))
        return set()


@pytest.fixture
def client(client_with_pool):
    return client_with_pool(POOL)


def start(client, **options):
    deployment = client.create_deployment(client.create_flow_from_name(POOL), POOL, work_pool_name=POOL)
    run = client.create_flow_run_from_deployment(deployment, **options).id
    for state in (Pending(), Running()):
        client.set_flow_run_state(run, state, force=True)
    return client.read_flow_run(run)


def wait_for(slot, wanted):
    """Return the seconds until the slot announces the wanted run, and how often all were to be read."""
    began, full = time.monotonic(), 0
    while time.monotonic() < began + 2 * FULL_POLL_INTERVAL_S:
        announced = slot.wait_or_yield()
        full += announced is None
        if announced is not None and wanted in announced:
            return time.monotonic() - began, full
    raise AssertionError("the end was not announced")


def test_an_attempt_ends_if_the_run_was_paused_and_another_attempt_has_resumed_it(client):
    run = start(client)
    slot = PoolSlot(client, run, NoEvents())
    assert slot.wait_or_yield() is None
    for state in (Suspended(), Scheduled(name="Resuming"), Pending(), Running()):
        client.set_flow_run_state(run.id, state, force=True)
    with pytest.raises(Abort, match="another attempt"):
        slot.wait_or_yield()


@pytest.mark.parametrize("end", [Completed, Failed])
def test_the_end_of_a_child_job_is_known_by_its_event(client, end):
    parent, other = start(client), start(client)
    child = start(client, tags=[parent_tag(parent.id)])
    foreign = start(client, tags=[parent_tag(other.id)])
    with ChildEvents([parent.id]) as events:
        slot = PoolSlot(client, parent, events)
        while not events.is_listening or slot.wait_or_yield() is not None:
            time.sleep(0.05)  # until it is connected: any may have ended before
        client.set_flow_run_state(foreign.id, Completed(), force=True)
        threading.Timer(0.5, client.set_flow_run_state, (child.id, end()), {"force": True}).start()
        seconds, _ = wait_for(slot, child.id)
        assert seconds < 2.0
        assert child.id in slot.wait_or_yield()  # once more: a read may have come too early
        assert child.id not in (slot.wait_or_yield() or [])
    assert not events._thread.is_alive()


def test_all_child_jobs_are_read_from_time_to_time(client, monkeypatch):
    monkeypatch.setattr(pool_slot, "FULL_POLL_INTERVAL_S", 3.0)
    parent = start(client)
    with ChildEvents([parent.id]) as events:
        slot = PoolSlot(client, parent, events)
        while not events.is_listening or slot.wait_or_yield() is not None:
            time.sleep(0.05)
        began = time.monotonic()
        while slot.wait_or_yield() is not None:
            pass
        assert 2.0 < time.monotonic() - began < 6.0


def test_a_waiting_run_whose_response_was_lost_is_not_queued_a_second_time(client, monkeypatch):
    run = start(client)
    slot, states = PoolSlot(client, run, NoEvents()), []
    set_state = client.set_flow_run_state

    def lose_the_first_response(run_id, state, **options):
        response = set_state(run_id, state, **options)
        states.append(state.name)
        if len(states) == 1:
            for later in (Pending(), Running()):  # another worker claims it
                set_state(run_id, later, force=True)
            raise OSError("connection reset")
        return response

    monkeypatch.setattr(client, "set_flow_run_state", lose_the_first_response)
    monkeypatch.setattr(slot, "_is_contended", lambda *_: True)
    with pytest.raises(Abort, match="yielded"):
        slot.wait_or_yield()
    assert states == ["Waiting"] and client.read_flow_run(run.id).state_name == "Running"
