"""Runs in warm children: what comes out is what Prefect's own process worker gives."""

import itertools
import os
import signal
import time

import pytest
from stage import eventually, is_alive

pytestmark = pytest.mark.stack


def scratch_of(worker):
    return [path for root in worker.scratch.glob("warm-*") for path in root.iterdir() if path.name != "owner"]


def test_a_run_passes_through_the_states_of_a_process_worker(shared, shared_pool):
    run = shared_pool.submit("empty")
    assert shared_pool.wait(run).type.value == "COMPLETED"
    assert shared_pool.names(run) == ["Scheduled", "Pending", "Submitting", "Running", "Completed"]
    assert shared_pool.run(run).labels["prefect.worker.name"] == shared.name


def test_its_logs_are_on_the_server(shared, shared_pool):
    run = shared_pool.submit("fails")
    assert shared_pool.wait(run).type.value == "FAILED"

    def logged():
        with shared_pool.server.client() as client:
            from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
        text = "\n".join(log.message for log in logs)
        return "on purpose" in text and "Finished in state Failed" in text

    eventually(logged, 15)


def test_a_failure_keeps_the_child(shared, shared_pool):
    before = set(shared.children())
    for _ in range(2):
        assert shared_pool.wait(shared_pool.submit("fails")).type.value == "FAILED"
    assert set(shared.children()) == before


def test_coroutines_run(shared, shared_pool, tmp_path):
    path = tmp_path / "ran"
    assert shared_pool.wait(shared_pool.submit("asynchronous", path=str(path))).type.value == "COMPLETED"
    assert path.read_text() == "ran"


def test_each_run_has_its_own_variables_and_its_own_scratch(shared, shared_pool, tmp_path):
    path = tmp_path / "seen"
    run = shared_pool.submit("surroundings", variables={"env": {"MARK": "mine"}}, path=str(path))
    assert shared_pool.wait(run).type.value == "COMPLETED"
    mark, folder, gpus = path.read_text().split(" ")
    assert mark == "mine" and folder.endswith(str(run)) and gpus == ""
    shared_pool.wait(shared_pool.submit("surroundings", path=str(path)))
    assert path.read_text().startswith(" ")
    eventually(lambda: not scratch_of(shared), 5)


def test_never_more_runs_than_children(shared, shared_pool):
    runs = [shared_pool.submit("nap", seconds=1.0) for _ in range(5)]
    for run in runs:
        assert shared_pool.wait(run).type.value == "COMPLETED"
    times = []  # of the child's own clock, which also paces the runs
    for run in map(shared_pool.run, runs):
        times += [(run.start_time, 1), (run.end_time, -1)]
    running = itertools.accumulate(change for _, change in sorted(times))
    assert max(running) == 2


@pytest.mark.parametrize("flow", ["encode", "stubborn"])
def test_a_cancelled_run_is_over_in_five_seconds_with_all_its_processes(shared, shared_pool, tmp_path, flow):
    run = shared_pool.submit(flow, folder=str(tmp_path))
    eventually((tmp_path / "started").exists)
    time.sleep(0.2)
    child, helper, _ = (tmp_path / "started").read_text().split(" ")
    began = time.monotonic()
    shared_pool.cancel(run)
    state = shared_pool.wait(run, 10)
    assert state.type.value == "CANCELLED" and time.monotonic() - began < 5
    assert not is_alive(int(child)) and not is_alive(int(helper))
    assert str(run) not in {path.name for path in scratch_of(shared)}
    assert shared_pool.wait(shared_pool.submit("empty")).type.value == "COMPLETED"


def test_a_run_that_still_waits_is_cancelled_at_once(shared, shared_pool):
    busy = [shared_pool.submit("nap", seconds=4.0) for _ in range(2)]
    for run in busy:
        shared_pool.wait_running(run)
    waiting = shared_pool.submit("empty")
    shared_pool.cancel(waiting)
    assert shared_pool.wait(waiting, 2).type.value == "CANCELLED"
    for run in busy:
        assert shared_pool.wait(run).type.value == "COMPLETED"


def test_max_time_stops_a_run_in_the_older_api_s_words(shared, shared_pool):
    run = shared_pool.submit("nap", seconds=60.0, control={"max_time": 1})
    state = shared_pool.wait(run, 15)
    assert state.type.value == "CANCELLED"
    assert state.message == "Job exceeded maximum runtime of 1 seconds"
    assert shared_pool.run(run).labels["musetalk.ended_as"] == "max_time"
    assert "Failed" not in shared_pool.names(run)


def test_a_run_past_its_deadline_is_not_begun(shared, shared_pool):
    busy = [shared_pool.submit("nap", seconds=6.0) for _ in range(2)]
    for run in busy:
        shared_pool.wait_running(run)
    late = shared_pool.submit("empty", control={"complete_in": 1})
    state = shared_pool.wait(late, 20)
    assert state.type.value == "CANCELLED" and state.message == "Job expired before processing could begin"
    assert shared_pool.names(late) == ["Scheduled", "Cancelled"]
    for run in busy:
        shared_pool.wait(run)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_run_that_kills_its_process_crashes_alone_after_one_retry(shared, shared_pool, number):
    bystander = shared_pool.submit("nap", seconds=4.0)
    shared_pool.wait_running(bystander)
    run = shared_pool.submit("dies", number=int(number))
    state = shared_pool.wait(run, 60)
    assert state.type.value == "CRASHED" and signal.Signals(number).name in state.message
    assert shared_pool.names(run).count("Running") == 2
    assert shared_pool.wait(bystander).type.value == "COMPLETED"
    assert shared_pool.wait(shared_pool.submit("empty")).type.value == "COMPLETED"


def test_a_run_whose_process_is_killed_once_is_finished_by_another(shared, shared_pool, tmp_path):
    run = shared_pool.submit("dies", number=int(signal.SIGKILL), marks=str(tmp_path))
    assert shared_pool.wait(run).type.value == "COMPLETED"
    assert shared_pool.names(run).count("AwaitingRetry") == 1


@pytest.mark.parametrize(("die", "word"), [(True, "CRASHED"), (False, "CANCELLING")])
def test_hooks_of_a_run_run_although_its_process_is_gone(shared, shared_pool, tmp_path, die, word):
    path = tmp_path / "told"
    run = shared_pool.submit("hooked", path=str(path), die=die, variables={"crash_retries": 0})
    if not die:
        shared_pool.wait_running(run)
        shared_pool.cancel(run)
    shared_pool.wait(run)
    eventually(path.exists, 30)
    assert path.read_text() == f"{word} {run}"


def test_children_end_with_their_worker(pool, workers, tmp_path):
    worker = workers(pool, tmp_path, limit=2)
    children = worker.children()
    assert len(children) == 2
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    eventually(lambda: not any(is_alive(child) for child in children), 5)
