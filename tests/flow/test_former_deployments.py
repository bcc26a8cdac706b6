"""Deployments that an earlier version named after their work pool, on a real server."""

import contextlib
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Completed, Running

from deployments.manifest import load_deployments
from deployments.provisioning.apply import _apply_deployment, _apply_queues
from deployments.provisioning.former_deployments import retire_former

WATCH = {"job": {"name": "mine", "job_type": "speech", "places": {"text": "s3://b1c/new/"}}}


@pytest.fixture
def client(home):
    with get_client(sync_client=True) as client:
        yield client


def known(client, name):
    with contextlib.suppress(ObjectNotFound):
        return client.read_deployment_by_name(name)
    return None


def test_schedules_and_queued_jobs_of_a_former_deployment_are_kept(client):
    (item,) = [one for one in load_deployments() if one.job_type.name == "render_new"]
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=item.pool, type="warm-process"))
    _apply_queues(client, item.pool)
    hourly = IntervalSchedule(interval=timedelta(hours=1))
    former = client.create_deployment(
        flow_id=client.create_flow_from_name("render_new"),
        name="light",
        work_pool_name=item.pool,
        parameters={"control": {"priority": "low"}},
        schedules=[DeploymentScheduleCreate(schedule=hourly, active=False, slug="mine", parameters=WATCH)],
    )
    queued = client.create_flow_run_from_deployment(former, parameters=WATCH)

    assert _apply_deployment(client, item) == "created deployment render_new/Bucket watch"
    lines = retire_former(client, [item])
    assert lines == ["stopped the schedules of deployment render_new/light, which has unfinished jobs"]
    made = client.read_deployment_by_name("render_new/Bucket watch")
    (schedule,) = made.schedules
    assert (schedule.slug, schedule.active, schedule.parameters) == ("mine", False, WATCH)
    assert made.parameters == {"control": {"priority": "low"}}
    assert client.read_deployment(former).schedules == []
    assert client.read_flow_run(queued.id).state.is_scheduled()
    assert retire_former(client, [item]) == [], "nothing changes while the job waits"

    for state in (Running(), Completed()):
        client.set_flow_run_state(queued.id, state, force=True)
    assert retire_former(client, [item]) == ["deleted deployment render_new/light"]
    assert known(client, "render_new/light") is None and known(client, "render_new/Bucket watch")
    assert client.read_flow_run(queued.id).state.is_completed(), "its finished jobs stay"
    assert retire_former(client, [item]) == [] and _apply_deployment(client, item) == ""
    client.delete_deployment(made.id)
