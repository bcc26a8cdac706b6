"""Runs that cannot be started, and runs whose attempts are lost before they begin: both end."""

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
from prefect.states import Scheduled
from stage import eventually

pytestmark = pytest.mark.stack

CLAIMED_ONCE = ["Scheduled", "Pending", "Submitting", "Failed"]


def unchecked(pool, flow, **parameters):
    """Create a run as Prefect's scheduler does, without validating the parameters."""
    with pool.server.client() as client:
        return client.request(
            "POST",
            "/deployments/{id}/create_flow_run",
            path_params={"id": pool.deployments[flow]},
            json={"parameters": parameters, "enforce_parameter_schema": False},
        ).json()["id"]


def fails_at_once(pool, run):
    state = pool.wait(run, 40)
    assert state.type.value == "FAILED", state
    time.sleep(1.5)  # longer than the pause before another attempt
    assert pool.names(run) == CLAIMED_ONCE
    assert pool.run(run).run_count == 0
    return state.message


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "missing a required argument: 'path'"),
        ({"path": "/x", "no_such": 1}, "no_such"),
        ({"path": {"not": "a path"}}, "path"),
    ],
)
def test_parameters_that_no_flow_takes_fail_the_run_with_their_fault(shared, shared_pool, parameters, words):
    run = unchecked(shared_pool, "write", **parameters)
    message = fails_at_once(shared_pool, run)
    assert message.startswith("Validation of flow parameters failed") and words in message
    assert shared_pool.wait(shared_pool.submit("empty")).type.value == "COMPLETED"


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [
        ("warm_no_such_module.never", "No module named 'warm_no_such_module'"),
        ("warm_flows.no_such_flow", "no_such_flow"),
        ("warm_flows.SHELF_BYTES", "callable"),
        ("warm_cannot_load.never", "a library of it is not installed"),
        ("warm_leaves_at_import.never", "configuration is missing"),
        ("/no/such/folder/flows.py:never", "/no/such/folder/flows.py"),
    ],
)
def test_a_flow_that_cannot_be_loaded_fails_the_run_with_the_reason(shared, shared_pool, entrypoint, words):
    name = f"never-{entrypoint.rpartition('/')[2]}"
    shared_pool.deploy(name, entrypoint)
    message = fails_at_once(shared_pool, shared_pool.submit(name))
    assert message.startswith("The flow could not be loaded: ") and words in message


def test_a_run_that_the_worker_cannot_prepare_fails(shared, shared_pool):
    block = "{{ prefect.blocks.secret.no-such-block }}"
    run = shared_pool.submit("empty", variables={"env": {"TOKEN": block}})
    message = fails_at_once(shared_pool, run)
    assert message.startswith("The run could not be started: ") and "no-such-block" in message


def claims(pool, run):
    """When it was claimed, and for when it was queued."""
    with pool.server.client() as client:
        states = client.read_flow_run_states(run)
    claimed = [state.timestamp for state in states if state.name == "Pending"]
    due = [state.state_details.scheduled_time for state in states if state.name == "AwaitingRetry"]
    return claimed, due


def test_attempts_that_never_begin_are_counted_and_come_later_and_later(pool, workers, tmp_path):
    workers(pool, tmp_path, MUSETALK_WORKER__MAX_STARTS="3")
    pool.deploy("dies-at-import", "warm_dies_at_import.never")
    run = pool.submit("dies-at-import")
    state = pool.wait(run, 90)
    claimed, due = claims(pool, run)
    assert state.type.value == "CRASHED" and pool.run(run).run_count == 0
    assert (
        state.message == "Started 3 times and ended early each time; the last time it was killed by SIGKILL."
    )
    assert len(claimed) == 3
    for pause, earlier, then, later in zip((1, 4), claimed, due, claimed[1:], strict=False):
        assert then - earlier >= timedelta(seconds=pause) and later >= then
    assert pool.wait(pool.submit("empty"), 60).type.value == "COMPLETED"


def test_attempts_count_across_the_workers_that_lost_them(pool, workers, tmp_path):
    rules = {"MUSETALK_WORKER__MAX_STARTS": "3"}
    pool.deploy("slow-import", "warm_slow_import.late")
    (mark := tmp_path / "importing").unlink(missing_ok=True)
    run = pool.submit("slow-import")
    for _ in range(2):
        worker = workers(pool, tmp_path, **rules)
        eventually(mark.exists, 60)
        worker.process.kill()
        worker.process.wait()
        mark.unlink()
    worker = workers(pool, tmp_path, **rules)
    eventually(mark.exists, 60)
    os.kill(worker.children()[0], signal.SIGKILL)
    state = pool.wait(run, 60)
    assert state.type.value == "CRASHED" and state.message.startswith("Started 3 times")
    assert len(claims(pool, run)[0]) == 3


def test_handing_back_uses_up_no_attempt(pool, workers, tmp_path):
    path = tmp_path / "written"
    run = pool.submit("write", path=str(path), seconds=3.0)
    for _ in range(2):
        worker = workers(pool, tmp_path, MUSETALK_WORKER__MAX_STARTS="1", MUSETALK_WORKER__DRAIN_S="0")
        pool.wait_running(run)
        worker.signal()
        assert worker.process.wait(30) == 0
        assert pool.state(run).name == "Rescheduled"
    workers(pool, tmp_path, MUSETALK_WORKER__MAX_STARTS="1")
    assert pool.wait(run).type.value == "COMPLETED"
    assert pool.names(run).count("Running") == 3


def test_a_run_starts_when_it_is_due_without_polling(pool, workers, tmp_path):
    workers(pool, tmp_path, PREFECT_WORKER_QUERY_SECONDS="300")
    time.sleep(2.0)  # the poll at its start is over
    later = datetime.now(UTC) + timedelta(seconds=14)
    with pool.server.client() as client:
        due = client.create_flow_run_from_deployment(
            pool.deployments["empty"], state=Scheduled(scheduled_time=later)
        ).id
    assert pool.wait(pool.submit("empty"), 10).type.value == "COMPLETED"
    assert pool.state(due).type.value == "SCHEDULED"
    assert pool.wait(due, 30).type.value == "COMPLETED"
    started = pool.run(due).start_time
    assert later <= started < later + timedelta(seconds=10)  # a poll would be due after 300 s
