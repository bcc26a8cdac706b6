"""The `announce` flow: enqueue the webhooks of a job. An automation starts it when a job starts or ends."""

from prefect import flow
from prefect.client.orchestration import get_client

from flows.control import DEFAULT_CONTROL, Control
from flows.options import FLOW_OPTIONS
from flows.webhook_runs import enqueue_webhooks
from flows.webhook_schemas import AnnounceJob, AnnounceResult


@flow(name="announce", **FLOW_OPTIONS)
def announce(job: AnnounceJob, control: Control = DEFAULT_CONTROL) -> AnnounceResult:
    """
    Create the first delivery attempt for each due webhook event of a job. Repeating it changes nothing.

    The flow does not deliver by itself: automations give their runs idempotency keys of their own, and only
    the key of the delivery attempt prevents two observers of the same event from delivering it twice.
    """
    with get_client(sync_client=True) as client:
        return AnnounceResult(webhooks=enqueue_webhooks(client, client.read_flow_run(job.run)))
