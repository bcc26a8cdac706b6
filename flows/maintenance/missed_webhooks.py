"""Maintenance task: enqueue webhooks whose automation did not fire, for example during an outage."""

from collections.abc import Iterator
from typing import Final

from flows.maintenance.context import SweepAction, SweepContext
from flows.webhooks.deliveries import create_attempt, find_missed, first_attempt_at

MISSED_WEBHOOK: Final = "Missed webhook"
"""Kind of action: a missed webhook was enqueued."""


def enqueue_missed_webhooks(context: SweepContext) -> Iterator[SweepAction]:
    """Create the missing delivery attempts and yield one action per attempt."""
    for attempt, run in find_missed(context.client, context.now):
        if not context.dry_run:
            create_attempt(context.client, attempt, first_attempt_at(attempt.event), run)
        yield SweepAction(MISSED_WEBHOOK, attempt.webhook_id)
