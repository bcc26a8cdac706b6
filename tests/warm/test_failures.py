"""Children that hang, swell and leak; flows that poison; workers and servers that vanish."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from prefect_settings import prefect_settings
from stage import eventually, is_alive

from api.orchestrator.connection import PrefectConnection
from api.orchestrator.workers import PrefectWorkerStore

pytestmark = pytest.mark.stack


def test_a_child_that_hangs_is_killed_and_its_run_crashes(pool, workers, tmp_path):
    workers(pool, tmp_path, MUSETALK_WORKER__HANG_S="4")
    run = pool.submit("holds_the_lock", folder=str(tmp_path), variables={"crash_retries": 0})
    state = pool.wait(run, 60)
    assert state.type.value == "CRASHED" and "sent no heartbeat" in state.message
    assert not is_alive(int((tmp_path / "started").read_text().split()[0]))
    assert pool.wait(pool.submit("empty")).type.value == "COMPLETED"


def test_a_run_above_the_memory_budget_crashes_and_the_pool_lives_on(pool, workers, tmp_path):
    worker = workers(pool, tmp_path, MUSETALK_WORKER__MEMORY_BYTES=str(600 << 20))
    poison = pool.submit("hungry", megabytes=900)
    state = pool.wait(poison, 90)
    assert state.type.value == "CRASHED" and "limit of 600 MiB" in state.message
    assert pool.names(poison).count("Running") == 2
    assert pool.wait(pool.submit("empty")).type.value == "COMPLETED"
    assert worker.process.poll() is None


@pytest.mark.slow
def test_a_child_that_leaks_is_replaced_between_two_runs(pool, workers, tmp_path):
    worker = workers(pool, tmp_path, MUSETALK_WORKER__GROWTH_BYTES=str(50 << 20))
    first = worker.children()
    for megabytes in (0, 100):
        assert pool.wait(pool.submit("leaks", megabytes=megabytes)).type.value == "COMPLETED"
    eventually(lambda: worker.text().count("is ready after") == 2, 30)
    assert worker.children() != first and "its memory has grown" in worker.text()


@pytest.mark.slow
def test_a_child_is_replaced_after_its_number_of_runs(pool, workers, tmp_path):
    worker = workers(pool, tmp_path, MUSETALK_WORKER__MAX_RUNS="2")
    runs = [pool.submit("empty") for _ in range(3)]
    for run in runs:
        assert pool.wait(run).type.value == "COMPLETED"
    assert "it has served 2 runs" in worker.text()


def test_a_successor_finishes_what_a_killed_worker_held(pool, workers, tmp_path):
    path = tmp_path / "written"
    worker = workers(pool, tmp_path)
    run = pool.submit("write", path=str(path), seconds=5.0)
    pool.wait_running(run)
    worker.process.kill()
    worker.process.wait()
    killed = time.monotonic()
    workers(pool, tmp_path, wait=False)
    assert pool.wait(run, 60).type.value == "COMPLETED" and time.monotonic() - killed < 60
    assert len(path.read_text().splitlines()) == 1
    assert not list(tmp_path.glob(f"**/{run}"))


def test_a_server_that_is_away_for_a_while_costs_no_run(server, pool, workers, tmp_path):
    path = tmp_path / "written"
    worker = workers(pool, tmp_path)
    run = pool.submit("write", path=str(path), seconds=6.0)
    pool.wait_running(run)
    server.kill()
    time.sleep(10.0)
    server.start()
    assert pool.wait(run, 90).type.value == "COMPLETED"
    assert len(path.read_text().splitlines()) == 1 and pool.names(run).count("Running") == 1
    assert pool.wait(pool.submit("empty"), 60).type.value == "COMPLETED"
    assert worker.process.poll() is None


async def process_of(worker, pool):
    """Return the process of a worker as the API reads it; None before its first report."""
    (state,) = [
        one for one in await PrefectWorkerStore(PrefectConnection()).list_pool(pool) if one.name == worker
    ]
    assert state.online and state.heartbeat_at
    return next(iter(state.processes), None)


def test_metrics_and_metadata_show_the_children(pool, workers, tmp_path):
    from stage import HTTP, free_port

    port = free_port()
    options = {"PREFECT_CLIENT_METRICS_ENABLED": "true", "PREFECT_CLIENT_METRICS_PORT": str(port)}
    worker = workers(pool, tmp_path, PREFECT_WORKER_HEARTBEAT_SECONDS="2", **options)
    run = pool.submit("nap", seconds=15.0)
    with prefect_settings(api={"url": pool.server.url}):
        eventually(lambda: (read := asyncio.run(process_of(worker.name, pool.name))) and read.job == run, 10)
        process = asyncio.run(process_of(worker.name, pool.name))
    assert (process.number, process.gpu, process.state) == (0, "cpu", "busy") and process.rss_bytes > 1e7
    assert pool.wait_running(run).type.value == "RUNNING"
    text = HTTP.get(f"http://127.0.0.1:{port}/metrics").text
    assert f'musetalk_child_state{{child="0",state="busy",worker="{worker.name}"}} 1.0' in text

    def shown():
        wanted = {"filter": {"event": {"name": ["musetalk.worker.children"]}}}
        with pool.server.client() as client:
            events = client._client.post("/events/filter", json=wanted).json()["events"]
        mine = [event for event in events if event["resource"]["prefect.resource.name"] == worker.name]
        return any(child["flow_run"] == str(run) for event in mine for child in event["payload"]["children"])

    eventually(shown, 10)
    pool.wait(run)
    counted = f'musetalk_child_runs_total{{child="0",worker="{worker.name}"}} 1.0'
    # the child says that it is done a moment after its run has ended
    eventually(lambda: counted in HTTP.get(f"http://127.0.0.1:{port}/metrics").text, 10)


def test_sigkill_of_a_child_frees_its_slot_at_once(shared, shared_pool, tmp_path):
    run = shared_pool.submit("stubborn", folder=str(tmp_path), seconds=60.0)
    eventually((tmp_path / "started").exists)
    child = int((tmp_path / "started").read_text().split()[0])
    Path(tmp_path / "started").unlink()
    os.kill(child, signal.SIGKILL)
    eventually(lambda: "AwaitingRetry" in shared_pool.names(run), 10)
    eventually((tmp_path / "started").exists)  # another child has it
    shared_pool.cancel(run)
    assert shared_pool.wait(run, 10).type.value == "CANCELLED"
