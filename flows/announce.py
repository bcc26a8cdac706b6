"""The `announce` flow: enqueue the webhooks of a job. An automation starts it when a job starts or ends."""

from prefect import flow
from prefect.client.orchestration import get_client

from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.webhook import AnnounceJob, AnnounceResult
from flows.webhooks.deliveries import enqueue_webhooks


@flow(name="announce", **FLOW_OPTIONS)
def announce(job: AnnounceJob, control: Control = DEFAULT_CONTROL) -> AnnounceResult:
    """
    Create the first delivery attempt for each due webhook event of a job. Repeating it changes nothing.

    The flow does not deliver by itself: automations give their runs idempotency keys of their own, and only
    the key of the delivery attempt prevents two observers of the same event from delivering it twice.
    """
    with get_client(sync_client=True) as client:
        return AnnounceResult(webhooks=enqueue_webhooks(client, client.read_flow_run(job.run)))
