"""
The job store restricted to one caller: jobs of other tenants do not exist for it.

A batch or pipeline is cancelled together with its child jobs.
"""

import hashlib
from dataclasses import dataclass, replace
from uuid import UUID

from api.auth.key_file import ApiKey
from api.auth.rate_limits import RateLimiter
from api.errors import Problem
from api.http.metrics import PoolQueue
from api.jobs.model import (
    DEFAULT_SUBMIT_OPTIONS,
    UNFINISHED_STATUSES,
    Job,
    JobFilter,
    JobStore,
    LogPage,
    Page,
    QueueEstimate,
    SubmitOptions,
    wait_until_final,
)
from api.jobs.submission_checks import location_faults, reference_faults, to_problem
from flows.prefect_state.status import ClientMark
from flows.registry import ORCHESTRATION_JOB_TYPES, JobType
from flows.schemas.base import JobParameters
from flows.schemas.control import Control

_STOP_WAIT_S = 3.0
_PAGE_SIZE = 200


@dataclass(frozen=True, slots=True)
class TenantJobStore:
    """A job store that applies a caller's tenant, rate limits and access checks."""

    store: JobStore
    caller: ApiKey
    rate_limiter: RateLimiter

    async def create(
        self, job_type: JobType, job: JobParameters, options: SubmitOptions = DEFAULT_SUBMIT_OPTIONS
    ) -> Job:
        """
        Queue a job for the caller's tenant.

        Raises:
            Problem: as raised by `require_inputs` and `RateLimiter.submission`.
        """
        tenant = self.caller.tenant
        await self.require_inputs(job)
        if tenant is not None:
            key = options.key and hashlib.sha256(f"{tenant}\0{options.key}".encode()).hexdigest()
            control = options.control.model_copy(update={"tenant": tenant})
            options = replace(options, control=control, key=key)
        async with self.rate_limiter.submission(self.caller, self.store, options.key):
            return await self.store.create(job_type, job, options)

    async def read(self, job_id: UUID) -> Job:
        """Return a job; raises Problem `not_found` for a job of another tenant."""
        job = await self.store.read(job_id)
        if self.caller.tenant is not None and job.control.tenant != self.caller.tenant:
            raise Problem("not_found", "Job not found")
        return job

    async def find(self, job_filter: JobFilter) -> Page:
        """Return a page of the caller's jobs."""
        return await self.store.find(replace(job_filter, tenant=self.caller.tenant))

    async def has_idempotency_key(self, key: str) -> bool:
        """
        Return whether a job of any tenant has this idempotency key.

        Args:
            key: the key as the store keeps it: for a caller with a tenant, the SHA-256 that `create` derives.
        """
        return await self.store.has_idempotency_key(key)

    async def count_unfinished(self, tenant: str | None) -> int:
        """Return the number of the caller's unfinished jobs."""
        return await self.store.count_unfinished(self.caller.tenant or tenant)

    async def estimate(self, job_type: JobType, control: Control) -> QueueEstimate:
        """Estimate a job among the jobs of all tenants; counts towards the rate limit."""
        await self.rate_limiter.hit(self.caller)
        if self.caller.tenant is not None:
            control = control.model_copy(update={"tenant": self.caller.tenant})
        return await self.store.estimate(job_type, control)

    async def queues(self) -> tuple[PoolQueue, ...]:
        """Return the state of the queues, which name no tenant."""
        return await self.store.queues()

    async def require_inputs(self, job: JobParameters) -> None:
        """
        Check that the caller may use all locations, job outputs and assets that a job names.

        Raises:
            Problem: `input_not_found`, `bucket_not_allowed`, `local_path_disabled`; `invalid_input` for
                several errors.
        """
        faults = await location_faults(job)
        if self.caller.tenant is not None:
            faults += await reference_faults(self, job)
        if faults:
            raise to_problem(faults)

    async def cancel(self, job_id: UUID, reason: str = "cancelled") -> Job:
        """Request cancellation of one of the caller's jobs, with its child jobs."""
        job = await self.read(job_id)
        if job.type in ORCHESTRATION_JOB_TYPES:
            return await cancel_with_children(self.store, job_id, reason)
        return await self.store.cancel(job_id, reason)

    async def mark(self, job_id: UUID, mark: ClientMark) -> None:
        """Record what the caller declares one of its jobs to be."""
        await self.read(job_id)
        await self.store.mark(job_id, mark)

    async def remove(self, job_id: UUID) -> None:
        """Delete one of the caller's ended jobs."""
        await self.read(job_id)
        await self.store.remove(job_id)

    async def logs(self, job_id: UUID, after: str | None, level: int, limit: int) -> LogPage:
        """Return a page of the log of one of the caller's jobs."""
        await self.read(job_id)
        return await self.store.logs(job_id, after, level, limit)

    async def wait_for_change(self, job_id: UUID, limit_s: float) -> None:
        """Wait until a job may have changed."""
        await self.store.wait_for_change(job_id, limit_s)

    async def health(self) -> dict[str, str | None]:
        """Return the problem of each part of the job system."""
        return await self.store.health()


async def cancel_with_children(jobs: JobStore, job_id: UUID, reason: str) -> Job:
    """
    Request cancellation of a batch or pipeline and of its child jobs.

    Args:
        jobs:   the job store.
        job_id: the parent job.
        reason: cancelled or timed_out.

    Returns:
        The parent job as last read, after a wait of up to 3 seconds for it to end.
    """
    await jobs.cancel(job_id, reason)
    await _cancel_children(jobs, job_id, reason)
    job = await wait_until_final(jobs, job_id, _STOP_WAIT_S)
    # children created while the parent was stopping; a maintenance task cancels any later ones
    await _cancel_children(jobs, job_id, reason)
    return job


async def _cancel_children(jobs: JobStore, job_id: UUID, reason: str) -> None:
    cursor: str | None = None
    while True:
        page = await jobs.find(
            JobFilter(part_of=job_id, statuses=UNFINISHED_STATUSES, limit=_PAGE_SIZE, cursor=cursor)
        )
        for child in page.jobs:
            await jobs.cancel(child.id, reason)
        cursor = page.next
        if cursor is None:
            return
