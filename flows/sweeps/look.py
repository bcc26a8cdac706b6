"""What every sweep is given, and what it gives back."""

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
"""Things of one kind that one run of the janitor removes; the next run goes on."""
LEFTOVER: Final = timedelta(days=1)
"""What was begun so long ago and is not finished never will be."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that was done; with a dry run, that would be."""

    what: str
    which: str
    size: int = 0
    """Bytes that it took up."""


@dataclass(frozen=True)
class Look:
    """The server, the time and the rules of one run of the janitor."""

    client: "SyncPrefectClient"
    now: datetime
    retention: RetentionSettings
    dry_run: bool = False

    @cached_property
    def unfinished(self) -> list[FlowRun]:
        """Every run that has not ended, as of the first time that somebody asked."""
        return read_unfinished(self.client)

    def before(self, days: int) -> datetime | None:
        """Return the time before which things are past their retention; None: they are kept for ever."""
        return self.now - timedelta(days=days) if days else None


SweepOf: TypeAlias = Callable[[Look], Iterator[Deed]]
"""Yields each deed once it is done, so that one that fails later takes nothing from the report."""


def read_unfinished(client: "SyncPrefectClient") -> list[FlowRun]:
    """
    Read every run that has not ended.

    Args:
        client: of the server.
    """
    state = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES)))
    return all_pages(client, FlowRunFilter(state=state))
