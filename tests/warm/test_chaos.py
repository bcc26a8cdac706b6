"""Jobs while children, workers and the server are killed: each output is there once, every slot free."""

import contextlib
import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
from prefect.events import Event
from prefect.states import AwaitingRetry
from stage import eventually

pytestmark = pytest.mark.stack


class Keeper:
    """Starts a worker again when it is killed, as a supervisor would."""

    def __init__(self, pool, folder, workers):
        self.start = lambda: workers(pool, folder, name="kept", limit=2, wait=False)
        self.worker = self.start()

    def kill_worker(self):
        self.worker.process.kill()
        self.worker.process.wait()
        self.worker = self.start()

    def kill_child(self, chance):
        if children := self.worker.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGKILL)


def chaos(server, pool, workers, folder, jobs, rounds, seed, **options):
    """Run jobs under a seeded schedule of kills; returns the files that they left, and the jobs."""
    chance, keeper = random.Random(seed), Keeper(pool, folder, workers)
    outputs = [folder / f"{number}.txt" for number in range(jobs)]
    runs = [pool.submit("write_once", path=str(path), seconds=0.5, **options) for path in outputs]
    kills = [("child", "worker", "server")[number % 3] for number in range(rounds)]
    for victim in kills:
        eventually(lambda: pool.count("RUNNING") > 0, 60)
        time.sleep(chance.uniform(0.0, 1.5))
        match victim:
            case "child":
                keeper.kill_child(chance)
            case "worker":
                keeper.kill_worker()
            case "server":
                server.kill()
                time.sleep(chance.uniform(0.0, 2.0))
                server.start()
    for run in runs:
        state = pool.wait(run, 240)
        assert state.type.value == "COMPLETED", (state.name, state.message)
    assert pool.count("RUNNING") == pool.count("PENDING") == 0
    return outputs, runs


def once(outputs):
    return all(path.read_text() == "done\n" for path in outputs)


def test_jobs_survive_the_death_of_a_child_a_worker_and_the_server(server, pool, workers, tmp_path):
    outputs, _ = chaos(server, pool, workers, tmp_path, jobs=8, rounds=3, seed=1)
    assert once(outputs)


@pytest.mark.slow
def test_fifty_jobs_survive_fifteen_deaths(server, pool, workers, tmp_path):
    outputs, _ = chaos(server, pool, workers, tmp_path, jobs=50, rounds=15, seed=2)
    assert once(outputs)


@pytest.mark.slow
def test_without_a_successor_the_server_ends_the_run_by_itself(server, pool, workers, tmp_path):
    from deployments.provisioning.lost_run_automation import apply_lost_run_automation

    with server.client() as client:
        apply_lost_run_automation(client)
    worker = workers(pool, tmp_path)
    run = pool.submit("nap", seconds=600.0)
    pool.wait_running(run)
    time.sleep(16.0)  # a heartbeat has been sent
    worker.process.kill()
    killed = time.monotonic()
    assert pool.wait(run, 160).type.value == "CRASHED" and time.monotonic() - killed < 150


@pytest.mark.slow
def test_a_queued_run_is_not_lost_though_the_event_of_its_state_is(server, pool, workers, tmp_path):
    from deployments.provisioning.lost_run_automation import apply_lost_run_automation

    run = pool.submit("empty")
    with server.client() as client:
        apply_lost_run_automation(client)
        client.set_flow_run_state(run, AwaitingRetry(scheduled_time=datetime.now(UTC) + timedelta(hours=1)))
        # without the event of that state, the last that the server knows of the run is a heartbeat
        heartbeat = Event(
            event="prefect.flow-run.heartbeat",
            resource={"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.name": "run"},
        )
        client._client.post("/events", json=[heartbeat.model_dump(mode="json")]).raise_for_status()
    workers(pool, tmp_path)
    time.sleep(170.0)

    assert pool.run(run).state.name == "AwaitingRetry"


def test_runs_of_a_worker_that_never_returns_are_taken_up_by_another(pool, workers, tmp_path):
    gone = workers(pool, tmp_path, name="gone")
    run = pool.submit("nap", seconds=15.0)
    pool.wait_running(run)
    other = workers(pool, tmp_path, name="other")
    gone.process.kill()
    killed = time.monotonic()
    assert pool.wait(run, 60).type.value == "COMPLETED" and time.monotonic() - killed < 60
    assert pool.run(run).labels["prefect.worker.name"] == "other"
    assert other.process.poll() is None
