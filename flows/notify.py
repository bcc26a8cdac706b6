"""
The `notify` flow: one attempt to deliver one webhook.

A failed attempt schedules the next one as a new run of this flow. Workers of the type `warm-process` make the
attempts themselves, without starting this flow.
"""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.webhook import NotifyJob, NotifyResult
from flows.webhooks.delivery import AttemptRun, raise_if_dead, record, send
from tasks.tracing.spans import current_traceparent


@flow(name="notify", **FLOW_OPTIONS)
def notify(job: NotifyJob, control: Control = DEFAULT_CONTROL) -> NotifyResult:
    """
    Send the webhook once, record the response, and schedule the next attempt if it failed.

    Raises:
        DeliveryFailed: the last attempt failed (dead letter); the flow run is shown as failed.
    """
    attempt = AttemptRun(
        UUID(str(flow_run.id)), tuple(flow_run.tags), get_run_logger().warning, current_traceparent()
    )
    with get_client(sync_client=True) as client:
        sent = send(client, job, attempt)
        record(client, job, attempt, sent)
    raise_if_dead(job, sent.result)
    return sent.result
