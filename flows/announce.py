"""announce: see who is to be told of a job. An automation runs it when a job starts or ends."""

from prefect import flow
from prefect.client.orchestration import get_client

from flows.control import USUAL, Control
from flows.options import JOB
from flows.webhook_runs import announce_run
from flows.webhook_schemas import AnnounceJob, AnnounceResult


@flow(name="announce", **JOB)
def announce(job: AnnounceJob, control: Control = USUAL) -> AnnounceResult:
    """
    Make the first attempt's run for all that there is to tell by now; doing so twice changes nothing.

    It does not deliver: automations give their runs keys of their own, and only the key of the attempt
    keeps two who saw the same end from telling it twice.
    """
    with get_client(sync_client=True) as client:
        return AnnounceResult(webhooks=announce_run(client, client.read_flow_run(job.run)))
