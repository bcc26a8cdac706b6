"""Domain model of jobs: job, submit options, filter, page, log, and the job store interface."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from api.errors import Problem
from api.http.metrics import PoolQueue
from api.jobs.eta import DurationStats, Eta
from flows.prefect_state.status import FINAL_STATUSES, ClientMark, JobError, Progress, Status
from flows.registry import JobType
from flows.schemas.base import JobParameters
from flows.schemas.control import DEFAULT_CONTROL, Control

__all__ = ["FINAL_STATUSES", "Status"]

UNFINISHED_STATUSES: Final[frozenset[Status]] = frozenset({"queued", "scheduled", "running"})

_OUTAGE_POLL_S: Final = 1.0
"""Seconds between two reads while the job system is unavailable."""


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """The options of a submission, besides the job's parameters. Defaults: no tags, metadata or key."""

    key: str | None = None
    """Idempotency key; a second submission with the same key and parameters returns the same job."""
    control: Control = DEFAULT_CONTROL
    tags: tuple[str, ...] = ()
    """The caller's tags, by which lists can be filtered."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """The caller's metadata, returned with the job."""
    retry_of: UUID | None = None
    """The job that this job retries."""


DEFAULT_SUBMIT_OPTIONS = SubmitOptions()


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its current state."""

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
    """Whether it creates no child jobs until it is resumed."""
    ended_as: str | None = None
    """Reason why it was stopped."""
    mark: ClientMark | None = None
    """State that its client declared on a compatibility route."""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    control: Control = DEFAULT_CONTROL
    retry_of: UUID | None = None
    replayed: bool = False
    """Whether an earlier request with the same idempotency key created it."""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Its parameters as JSON."""
    part_of: UUID | None = None
    """The parent: the batch or pipeline that created it."""
    part: str | None = None
    """Its step or row in the parent."""
    name: str = ""
    """Name of its run: `lip_sync: anna.mp4, hello.wav (1f0c9d2e)`."""
    position: int | None = None
    """Queue position from 1; None if it is not queued."""
    eta: Eta | None = None
    """Estimated time until it finishes; None if unknown or ended."""
    run_url: str | None = None
    """Page of its flow run in Prefect's UI; None if the UI's address is not known."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A filter of a job list, with pagination. Empty sets and None match all jobs."""

    statuses: frozenset[Status] = frozenset()
    """Any of these statuses."""
    types: frozenset[str] = frozenset()
    """Any of these job types."""
    tags: tuple[str, ...] = ()
    """All of these tags."""
    tenant: str | None = None
    """Tenant of the jobs."""
    part_of: UUID | None = None
    """Parent of the jobs: a batch or pipeline."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    search: str | None = None
    """Text that the name of the job's run contains, in any case."""
    limit: int = 50
    cursor: str | None = None
    """`Page.next` of the previous page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of jobs, newest first."""

    jobs: tuple[Job, ...]
    next: str | None
    """Cursor of the next page; None at the end."""


@dataclass(frozen=True, slots=True)
class QueueEstimate:
    """The estimate for a job that is submitted now."""

    jobs_ahead: int
    """Number of queued jobs that would start before it."""
    durations: DurationStats | None
    """Run times of its job type; None if no job of this type has finished."""
    eta: Eta | None
    """Estimated time until it would finish; None if unknown."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log line of a job."""

    id: UUID
    time: datetime
    level: int
    """Level as in Python's logging: 20 is INFO."""
    message: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of a job's log, oldest line first."""

    lines: tuple[LogLine, ...]
    next: str
    """Cursor of the next page."""


class JobStore(Protocol):
    """The interface through which routes create, read and cancel jobs; tests use a fake."""

    async def create(
        self, job_type: JobType, job: JobParameters, options: SubmitOptions = DEFAULT_SUBMIT_OPTIONS
    ) -> Job:
        """
        Queue a job and return without waiting for it.

        Args:
            job_type: its entry in the registry.
            job:      its parameters.
            options:  its submit options.

        Raises:
            Problem: `idempotency_mismatch`, `orchestrator_unavailable`.
        """
        ...

    async def read(self, job_id: UUID) -> Job:
        """Return a job; raises Problem `not_found` if it does not exist."""
        ...

    async def find(self, job_filter: JobFilter) -> Page:
        """Return a page of jobs; raises Problem `invalid_input` for an invalid cursor."""
        ...

    async def has_idempotency_key(self, key: str) -> bool:
        """Return whether a job with this idempotency key exists."""
        ...

    async def count_unfinished(self, tenant: str | None) -> int:
        """Return the number of unfinished jobs of a tenant; None counts all tenants."""
        ...

    async def estimate(self, job_type: JobType, control: Control) -> QueueEstimate:
        """Estimate queue position, run time and ETA of a job submitted now."""
        ...

    async def queues(self) -> tuple[PoolQueue, ...]:
        """Return the state of the queue of each work pool."""
        ...

    async def cancel(self, job_id: UUID, reason: str = "cancelled") -> Job:
        """Request cancellation of a job; an ended job is unchanged. `reason`: cancelled or timed_out."""
        ...

    async def mark(self, job_id: UUID, mark: ClientMark) -> None:
        """Record what a client declares a job to be; only the compatibility routes report it."""
        ...

    async def remove(self, job_id: UUID) -> None:
        """
        Delete an ended job, so that it can no longer be read.

        Its webhook address is kept until the webhook is delivered, and so is its idempotency key.
        """
        ...

    async def logs(self, job_id: UUID, after: str | None, level: int, limit: int) -> LogPage:
        """Return a page of a job's log; `after` is `LogPage.next` of an earlier page."""
        ...

    async def wait_for_change(self, job_id: UUID, limit_s: float) -> None:
        """Wait until a job may have changed, at most `limit_s` seconds."""
        ...

    async def health(self) -> dict[str, str | None]:
        """Return the problem of each part of the job system; None for a healthy part."""
        ...


async def wait_until_final(jobs: JobStore, job_id: UUID, limit_s: float, known: Job | None = None) -> Job:
    """
    Wait until a job has ended; an outage of the job system does not end the wait.

    Args:
        jobs:    the job store.
        job_id:  the job.
        limit_s: maximum wait in seconds.
        known:   the job as it is known, if it is. The caller of a submission must learn the id of the created
            job, whether or not that can be read.

    Returns:
        The job as last read, ended or not.

    Raises:
        Problem: as raised by `JobStore.read`; `orchestrator_unavailable` only by the first read, and only if
            `known` is None.
    """
    deadline = time.monotonic() + limit_s
    while True:
        try:
            known = await jobs.read(job_id)
        except Problem as problem:
            if known is None or problem.code != "orchestrator_unavailable":
                raise
            if time.monotonic() < deadline:
                await asyncio.sleep(min(_OUTAGE_POLL_S, deadline - time.monotonic()))
        remaining_s = deadline - time.monotonic()
        if known.status in FINAL_STATUSES or remaining_s <= 0:
            return known
        await jobs.wait_for_change(job_id, min(remaining_s, 1.0))
