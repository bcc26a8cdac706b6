"""A server with its webhooks set up, a worker that sends them, and what tests ask of both."""

from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from stage import eventually

from deployments.manifest import load_deployments
from deployments.provisioning.apply import _apply_deployment, _apply_queues, job_template
from deployments.provisioning.automations import apply_job_event_automations
from flows.schemas.control import Control, Notify, tags_for
from flows.webhooks.deliveries import attempts_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Light:
    """The pool `light` as `musetalk deploy` sets it up, for the workers of `stage`."""

    name = "light"

    def __init__(self, server):
        self.server = server
        with server.client() as client:
            pool = WorkPoolCreate(name="light", type="warm-process", base_job_template=job_template())
            client.create_work_pool(pool)
            _apply_queues(client, "light")
            for item in load_deployments():
                if item.pool == "light":
                    _apply_deployment(client, item)
            assert len(apply_job_event_automations(client)) == 4 and not apply_job_event_automations(client)
            for kept in client.read_deployments():  # the janitor runs when a test says so
                for schedule in kept.schedules:
                    client.delete_deployment_schedule(kept.id, schedule.id)


def submit(jobs, url, flow="empty", events=("completed", "failed", "canceled"), tags=(), **parameters):
    control = Control(notify=Notify(url=url, events=events))
    told = control.model_dump(mode="json", exclude_defaults=True)
    return jobs.submit(flow, tags=[*tags_for(control), *tags], control=told, **parameters)


def attempts(server, job):
    with server.client() as client:
        return attempts_of(client, [job])


def runs_of(server, flow):
    with server.client() as client:
        return client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])))


def janitor(server):
    with server.client() as client:
        deployment = client.read_deployment_by_name("janitor/Housekeeping: maintenance")
        run = client.create_flow_run_from_deployment(deployment.id)  # as its schedule does
        eventually(lambda: client.read_flow_run(run.id).state.is_completed(), 60, 0.3)
