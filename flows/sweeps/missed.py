"""Webhooks that nobody set going: the server was away when its automation should have seen the end."""

from collections.abc import Iterator
from typing import Final

from flows.sweeps.look import Deed, Look
from flows.webhook_runs import first_due, make_attempt, missed, tenant_of

MISSED: Final = "Webhook was missed"


def announce_missed(look: Look) -> Iterator[Deed]:
    """Set them going."""
    for attempt, run in missed(look.client, look.now):
        if not look.dry_run:
            make_attempt(look.client, attempt, first_due(attempt.event), tenant_of(run))
        yield Deed(MISSED, attempt.webhook_id)
