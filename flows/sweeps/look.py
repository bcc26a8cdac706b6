"""Context and result types of the maintenance tasks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun

from flows.webhook_runs import all_pages
from tasks.settings_retention import RetentionSettings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

MOST: Final = 500
"""Maximum number of items of one kind that one run of the janitor removes; the next run continues."""
LEFTOVER: Final = timedelta(days=1)
"""Age after which an unfinished upload or write counts as abandoned."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One action that was taken, or in a dry run would be taken."""

    what: str
    which: str
    size: int = 0
    """Freed bytes."""


@dataclass(frozen=True)
class Look:
    """The Prefect client, time and retention rules of one run of the janitor."""

    client: "SyncPrefectClient"
    now: datetime
    retention: RetentionSettings
    dry_run: bool = False

    @cached_property
    def unfinished(self) -> list[FlowRun]:
        """All flow runs that have not ended, read once at first use."""
        return read_unfinished(self.client)

    def before(self, days: int) -> datetime | None:
        """Return the time before which items are past their retention; None: they are kept forever."""
        return self.now - timedelta(days=days) if days else None


SweepOf: TypeAlias = Callable[[Look], Iterator[Deed]]
"""A maintenance task. It yields each action after taking it, so that actions before an error are reported."""


def read_unfinished(client: "SyncPrefectClient") -> list[FlowRun]:
    """
    Read all flow runs that have not ended.

    Args:
        client: client of the Prefect server.
    """
    state = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES)))
    return all_pages(client, FlowRunFilter(state=state))
