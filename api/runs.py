"""Jobs as the API sees them, and what it needs of the system that runs them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from api.forecast import Eta, Took
from api.reports import Progress
from flows.control import USUAL, Control
from flows.outcome import FINAL, JobError, Status
from flows.registry import JobType
from flows.schemas import Job

__all__ = ["FINAL", "Status"]

UNFINISHED: Final[frozenset[Status]] = frozenset({"queued", "scheduled", "running"})


@dataclass(frozen=True, slots=True)
class Terms:
    """How a job is to be taken, beside what it is to do."""

    key: str | None = None
    """The caller's idempotency key; the same key and job give the same run."""
    control: Control = USUAL
    tags: tuple[str, ...] = ()
    """The caller's own words, by which lists are filtered."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """The caller's own notes, given back with the job."""
    retry_of: UUID | None = None
    """The job that this one does again."""


USUAL_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Run:
    """One job."""

    id: UUID
    type: str
    status: Status
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    progress: Progress = field(default_factory=Progress)
    result: Mapping[str, Any] | None = None
    error: JobError | None = None
    cancel_requested: bool = False
    paused: bool = False
    """It makes no more parts until it is resumed."""
    ended_as: str | None = None
    """The word the owner used in the older API: cancelled or timed_out."""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    control: Control = USUAL
    retry_of: UUID | None = None
    replayed: bool = False
    """The idempotency key was known: this is the job of an earlier request."""
    job: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What it was asked to do."""
    part_of: UUID | None = None
    """The batch or pipeline that made it."""
    part: str | None = None
    """Its step or row there."""
    position: int | None = None
    """Place among those that wait, from 1."""
    eta: Eta | None = None
    """When it will be done, while it is not."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs a list shall have."""

    statuses: frozenset[Status] = frozenset()
    """None: all."""
    types: frozenset[str] = frozenset()
    tags: tuple[str, ...] = ()
    """All of them."""
    tenant: str | None = None
    """None: everybody's."""
    part_of: UUID | None = None
    """The batch or pipeline that made them; None: whoever did."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    limit: int = 50
    cursor: str | None = None
    """`Page.next` of the page before."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, newest first."""

    runs: tuple[Run, ...]
    next: str | None
    """Where the next page begins; None at the end."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would become of a job that were queued now."""

    waiting: int
    """Jobs that would start before it."""
    took: Took | None
    """How long jobs of its kind run; None when none has finished yet."""
    eta: Eta | None
    """When it would be done."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """Something that a job said."""

    id: UUID
    time: datetime
    level: int
    """As in Python's logging: 20 is information."""
    message: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of what a job said, oldest first."""

    lines: tuple[LogLine, ...]
    next: str
    """Where to read on."""


class Runs(Protocol):
    """What the routes need of the job system; tests hand in a fake."""

    async def create(self, job_type: JobType, job: Job, terms: Terms = USUAL_TERMS) -> Run:
        """
        Queue a job and return at once.

        Args:
            job_type: its entry in the registry.
            job:      its parameters.
            terms:    how it is to be taken.

        Raises:
            Problem: `idempotency_mismatch`, `orchestrator_unavailable`.
        """
        ...

    async def read(self, job_id: UUID) -> Run:
        """Look a job up; a Problem `not_found` when there is none."""
        ...

    async def find(self, wanted: Wanted) -> Page:
        """List jobs; a Problem `invalid_input` for a cursor that is none."""
        ...

    async def knows(self, key: str) -> bool:
        """Tell whether there is a job of this idempotency key."""
        ...

    async def unfinished(self, tenant: str | None) -> int:
        """Count a tenant's jobs that have not ended; None counts everybody's."""
        ...

    async def outlook(self, job_type: JobType, control: Control) -> Outlook:
        """Say how long a job would wait and run."""
        ...

    async def cancel(self, job_id: UUID, word: str = "cancelled") -> Run:
        """Ask a job to stop; a job that has ended stays as it is."""
        ...

    async def remove(self, job_id: UUID) -> None:
        """
        Take away what is known of a job that has ended: nobody finds it any more.

        Whom its webhook tells is kept until it was told, and so is its idempotency key.
        """
        ...

    async def logs(self, job_id: UUID, after: str | None, level: int, limit: int) -> LogPage:
        """Read what a job said; `after` is `next` of an earlier answer."""
        ...

    async def changed(self, job_id: UUID, limit_s: float) -> None:
        """Return when a job may have changed, at the latest after so many seconds."""
        ...

    async def faults(self) -> dict[str, str | None]:
        """Say per part of the job system what is wrong with it, None when nothing is."""
        ...


async def wait_until_final(runs: Runs, job_id: UUID, limit_s: float) -> Run:
    """
    Wait until a job has ended.

    Args:
        runs:    where to ask.
        job_id:  the job.
        limit_s: longest wait in seconds.

    Returns:
        The job as it was last seen, ended or not.
    """
    deadline = time.monotonic() + limit_s
    while (run := await runs.read(job_id)).status not in FINAL:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        await runs.changed(job_id, min(left, 1.0))
    return run
