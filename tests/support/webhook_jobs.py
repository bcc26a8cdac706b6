"""Jobs of which somebody is to be told, and a worker that makes the attempts; on a real Prefect server."""

import json

from prefect import flow
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from flows.announce import announce
from flows.notify import notify
from flows.schemas.webhook import DELIVERY_KEY, AnnounceJob
from flows.webhooks.deliveries import attempts_of

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUJD" * 12)


@flow(name="lip_sync")
def lip_sync(job: dict | None = None, control: dict | None = None):
    """Stands for a job: tests move its runs by hand."""


def attempts(server, job):
    return sorted(attempts_of(server, [job]), key=lambda run: run.parameters["job"]["attempt"])


def work(server, run):
    """Run a delivery attempt as a worker does when it is due, and return the finished run."""
    server.set_flow_run_state(run.id, Scheduled(), force=True)
    run_flow(notify, flow_run=server.read_flow_run(run.id), return_type="state")
    return server.read_flow_run(run.id)


def note(server, run):
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    (found,) = [it for it in server.read_artifacts(artifact_filter=wanted) if it.key == DELIVERY_KEY]
    return json.loads(found.data) if isinstance(found.data, str) else found.data


def told(server, job):
    """Announce a job and deliver the one attempt that comes of it."""
    announce(AnnounceJob(run=job))
    (run,) = attempts(server, job)
    return work(server, run)
