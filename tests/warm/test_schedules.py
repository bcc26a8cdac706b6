"""Every schedule of prefect.yaml, by the clock: the server's scheduler makes the runs, a worker does them."""

import re
from datetime import timedelta

import pytest
from chain_stage import Deployed
from moto_s3 import KEYS, moto_s3
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import IntervalSchedule
from stage import ASSETS, Server, eventually

from deployments.manifest import load_deployments
from deployments.provisioning.apply import apply
from tasks.settings import Settings

pytestmark = pytest.mark.stack

SCHEDULED = [item for item in load_deployments() if item.schedules]
_OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture(scope="module")
def s3():
    """The buckets that the sleeping example names, with nothing new in them."""
    with moto_s3("media") as client:
        client.upload_file(str(ASSETS / "astronaut.jpg"), "media", "avatars/anna.mp4")
        yield client


@pytest.fixture
def scheduling(tmp_path):
    """A server whose scheduler looks every second, brought up to date by `musetalk deploy`."""
    server = Server(tmp_path)
    server.environment["PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS"] = "1"
    server.environment["PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS"] = "1"
    server.start()
    try:
        with server.client():
            apply(Settings(home=tmp_path / "home"))
        yield server
    finally:
        server.kill()


def soon(server, item):
    """Have all of a deployment's schedules make a run every few seconds, the sleeping ones too."""
    with server.client() as client:
        deployment = client.read_deployment_by_name(f"{item.job_type.name}/{item.name}")
        assert len(deployment.schedules) == len(item.schedules)
        for schedule in deployment.schedules:
            often = IntervalSchedule(interval=timedelta(seconds=4))
            client.update_deployment_schedule(
                deployment.id,
                schedule.id,
                active=True,
                schedule=often,
                parameters=schedule.parameters,  # the server forgets those that a change does not name
            )
    return deployment.id


def ended(server, deployment):
    """How the runs that the scheduler made have ended."""
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    with server.client() as client:
        runs = client.read_flow_runs(deployment_filter=wanted, limit=200)
    assert all(run.auto_scheduled for run in runs)
    return [run.state for run in runs if run.state_type.value in _OVER]


def first_run(server, deployment):
    """The first completed run of a deployment: the worker has named it after its purpose."""
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    with server.client() as client:
        runs = client.read_flow_runs(deployment_filter=wanted, limit=200)
    return min((run for run in runs if run.state_type.value == "COMPLETED"), key=lambda run: run.start_time)


def test_every_scheduled_deployment_completes_by_the_clock(scheduling, s3, workers, tmp_path):
    assert {item.job_type.name for item in SCHEDULED} >= {"janitor", "render_new"}
    storage = {
        "MUSETALK_S3__ENDPOINT_URL": s3.meta.endpoint_url,
        "MUSETALK_S3__FORCE_PATH_STYLE": "true",
        "MUSETALK_STORE__MIN_FREE_BYTES": "0",
        "MUSETALK_WORKER__PRELOAD": "",
        **KEYS,
    }
    for pool in sorted({item.pool for item in SCHEDULED}):
        workers(Deployed(scheduling, pool), tmp_path, **storage)
    made = {item.job_type.name: soon(scheduling, item) for item in SCHEDULED}
    for name, deployment in made.items():
        states = eventually(lambda deployment=deployment: ended(scheduling, deployment), 90, 0.3)
        assert {state.type.value for state in states} == {"COMPLETED"}, (name, states)
        assert re.match(rf"{name}(: example)? \([0-9a-f]{{8}}\)$", first_run(scheduling, deployment).name)
