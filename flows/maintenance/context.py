"""
Context and result types of the maintenance tasks, and the throttle of their requests.

`Throttle` sleeps after each request for a multiple of its duration, and ends after a time budget.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.exceptions import ObjectNotFound

from flows.webhooks.deliveries import read_all_runs
from tasks.settings.retention import RetentionSettings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


MAX_ITEMS_PER_RUN: Final = 500
"""Maximum number of items of one kind that one run of the janitor removes; the next run continues."""
ABANDONED_AFTER: Final = timedelta(days=1)
"""Age after which an unfinished upload or write counts as abandoned."""


@dataclass(frozen=True, slots=True)
class SweepAction:
    """One action that was taken, or in a dry run would be taken."""

    kind: str
    item: str
    freed_bytes: int = 0
    """Freed bytes."""


@dataclass(frozen=True)
class SweepContext:
    """The Prefect client, time and retention rules of one run of the janitor."""

    client: "SyncPrefectClient"
    now: datetime
    retention: RetentionSettings
    dry_run: bool = False

    @cached_property
    def unfinished(self) -> list[FlowRun]:
        """All flow runs that have not ended, read once at first use."""
        return read_unfinished(self.client)

    def cutoff(self, days: int) -> datetime | None:
        """Return the time before which items are past their retention; None: they are kept forever."""
        return self.now - timedelta(days=days) if days else None


SweepFunction: TypeAlias = Callable[[SweepContext], Iterator[SweepAction]]
"""A maintenance task. It yields each action after taking it, so that actions before an error are reported."""


def read_unfinished(client: "SyncPrefectClient") -> list[FlowRun]:
    """
    Read all flow runs that have not ended.

    Args:
        client: client of the Prefect server.
    """
    state = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES)))
    return read_all_runs(client, FlowRunFilter(state=state))


def is_unchanged(client: "SyncPrefectClient", run: FlowRun) -> bool:
    """
    Return whether a run is still in the state in which it was read.

    To be called right before the state of a run is set on the ground of what was read earlier.

    Args:
        client: client of the Prefect server.
        run:    the run as it was judged.
    """
    try:
        return client.read_flow_run(run.id).state_id == run.state_id
    except ObjectNotFound:
        return False


class Throttle:
    """Limits the rate of requests and their total time."""

    def __init__(self, budget_s: float, pause_factor: float = 2.0) -> None:
        """
        Start the time budget now.

        Args:
            budget_s:     time budget in seconds.
            pause_factor: length of a pause, as a multiple of the duration of the step before it.
        """
        self._end_time, self._pause_factor = time.monotonic() + budget_s, pause_factor

    @property
    def is_spent(self) -> bool:
        """Whether the time budget is spent."""
        return time.monotonic() >= self._end_time

    @contextmanager
    def throttled(self) -> Generator[None]:
        """Run the body, then sleep for a multiple of its duration."""
        started = time.monotonic()
        yield
        time.sleep(self._pause_factor * (time.monotonic() - started))
