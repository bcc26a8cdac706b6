"""Maintenance task: enqueue webhooks whose automation did not fire, for example during an outage."""

from collections.abc import Iterator
from typing import Final

from flows.sweeps.look import Deed, Look
from flows.webhook_runs import first_due, make_attempt, missed, tenant_of

MISSED: Final = "Missed webhook"
"""Kind of action: a missed webhook was enqueued."""


def announce_missed(look: Look) -> Iterator[Deed]:
    """Create the missing delivery attempts and yield one action per attempt."""
    for attempt, run in missed(look.client, look.now):
        if not look.dry_run:
            make_attempt(look.client, attempt, first_due(attempt.event), tenant_of(run))
        yield Deed(MISSED, attempt.webhook_id)
