"""Job order: urgent jobs first, tenants in turn, within limits."""

import pytest
from stage import Worker, eventually

from deployments.warm_worker.queue.tenant_limits import LEASE_S

pytestmark = pytest.mark.stack


@pytest.fixture
def saturated(pool, workers, tmp_path):
    """Two children, both busy with the first of 80 low jobs of one tenant."""
    runs = pool.submit_many("nap", 81, queue="low", tags=["tenant:heavy"], seconds=2.0)
    workers(pool, tmp_path, limit=2)
    eventually(lambda: pool.count("RUNNING") == 2, 60)
    return runs


def test_urgent_jobs_and_light_tenants_pass_a_long_queue(pool, saturated):
    high = pool.submit("empty", queue="high")
    assert pool.wait(high, 20).type.value == "COMPLETED"
    light = [pool.submit("nap", queue="low", tags=["tenant:light"], seconds=0.1) for _ in range(2)]
    done = pool.count("COMPLETED")
    for run in light:
        assert pool.wait(run, 30).type.value == "COMPLETED"
    # at most one job's time per child: each child ends what it has, and takes the light one next
    assert pool.count("COMPLETED") - done <= 2 + 2 + 2
    assert pool.count("SCHEDULED") > 40


def test_a_tenant_s_limit_holds_and_its_slots_come_back(pool, workers, tmp_path, server):
    tenant = f"tenant:{pool.name}"
    with server.client() as client:
        client._client.post("/v2/concurrency_limits/", json={"name": tenant, "limit": 1}).raise_for_status()
    workers(pool, tmp_path, limit=2)
    limited = [pool.submit("nap", tags=[tenant], seconds=2.0) for _ in range(3)]
    pool.wait_running(limited[0])
    free = pool.submit("empty", tags=["tenant:other"])
    assert pool.wait(free, 30).type.value == "COMPLETED"
    seen = []

    def look():
        states = [pool.state(run).type.value for run in limited]
        seen.append(sum(state in ("PENDING", "RUNNING") for state in states))
        return states == ["COMPLETED"] * 3

    eventually(look, 60)
    assert max(seen) == 1
    with server.client() as client:
        eventually(lambda: client.read_global_concurrency_limit_by_name(tenant).active_slots == 0, 10)


DIES_BEFORE_ITS_CLAIM = """
import os, signal, sys
from prefect.cli import app
from deployments.warm_worker import worker

async def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

worker.claim_run = die
sys.argv[0] = "prefect"
app()
"""


def test_the_slot_of_a_worker_that_is_killed_before_its_claim_comes_back(pool, workers, tmp_path, server):
    tenant = f"tenant:{pool.name}"
    with server.client() as client:
        client._client.post("/v2/concurrency_limits/", json={"name": tenant, "limit": 1}).raise_for_status()
    run = pool.submit("empty", tags=[tenant])
    killed = Worker(pool, tmp_path)
    killed.command[1:3] = ["-c", DIES_BEFORE_ITS_CLAIM]
    killed.start(wait=False).process.wait(120)
    with server.client() as client:
        assert client.read_global_concurrency_limit_by_name(tenant).active_slots == 1
    assert pool.state(run).type.value == "SCHEDULED"

    workers(pool, tmp_path)  # starts within seconds, and the slot is free before the lease would expire
    assert pool.wait(run, LEASE_S - 15).type.value == "COMPLETED"
    with server.client() as client:
        eventually(lambda: client.read_global_concurrency_limit_by_name(tenant).active_slots == 0, 10)


def test_a_face_goes_to_the_child_that_knows_it(pool, workers, tmp_path):
    workers(pool, tmp_path, limit=2)
    paths = {face: tmp_path / face for face in ("anna", "ben")}

    def place(face, until=None):
        job = {"video": f"s3://media/{face}.mp4"}
        return pool.submit("whoami", path=str(paths[face]), job=job, until=until)

    both = tmp_path / "both run"
    runs = [place(face, str(both)) for face in paths]  # side by side: each has a child of its own
    for path in paths.values():
        eventually(path.exists)
    both.touch()
    for run in runs:
        assert pool.wait(run).type.value == "COMPLETED"
    first = {face: path.read_text() for face, path in paths.items()}
    assert first["anna"] != first["ben"]
    for face in ("ben", "anna", "anna", "ben"):
        assert pool.wait(place(face)).type.value == "COMPLETED"
        assert paths[face].read_text() == first[face]


def test_a_run_waits_only_so_long_for_the_child_that_suits_it(pool, workers, tmp_path):
    workers(pool, tmp_path, limit=2, MUSETALK_WORKER__PLACEMENT_WAIT_S="0.5")
    job = {"video": "s3://media/anna.mp4"}
    path = tmp_path / "pid"
    end = tmp_path / "end"
    busy = pool.submit("whoami", path=str(path), job=job, until=str(end))
    eventually(path.exists)
    other = pool.submit("whoami", path=str(tmp_path / "other"), job=job)
    assert pool.wait(other, 30).type.value == "COMPLETED"
    assert pool.state(busy).type.value == "RUNNING"
    end.touch()
    assert pool.wait(busy).type.value == "COMPLETED"
    assert path.read_text() != (tmp_path / "other").read_text()
