"""The job store restricted to one caller: jobs of other tenants do not exist for it."""

import hashlib
from dataclasses import dataclass, replace
from uuid import UUID

from api.families import cancel_family
from api.gate import Gate
from api.key_file import Key
from api.problems import Problem
from api.runs import USUAL_TERMS, LogPage, Outlook, Page, Run, Runs, Terms, Wanted
from api.submission_checks import location_faults, reference_faults, to_problem
from flows.control import Control
from flows.registry import CHAINS, JobType
from flows.schemas import Job


@dataclass(frozen=True, slots=True)
class ScopedRuns:
    """A job store that applies a caller's tenant, rate limits and access checks."""

    runs: Runs
    caller: Key
    gate: Gate

    async def create(self, job_type: JobType, job: Job, terms: Terms = USUAL_TERMS) -> Run:
        """
        Queue a job for the caller's tenant.

        Raises:
            Problem: as raised by `require_inputs` and `RateLimiter.check_submission`.
        """
        tenant = self.caller.tenant
        await self.require_inputs(job)
        if tenant is not None:
            key = terms.key and hashlib.sha256(f"{tenant}\0{terms.key}".encode()).hexdigest()
            control = terms.control.model_copy(update={"tenant": tenant})
            terms = replace(terms, control=control, key=key)
        await self.gate.admit(self.caller, self.runs, terms.key)
        return await self.runs.create(job_type, job, terms)

    async def read(self, job_id: UUID) -> Run:
        """Return a job; raises Problem `not_found` for a job of another tenant."""
        run = await self.runs.read(job_id)
        if self.caller.tenant is not None and run.control.tenant != self.caller.tenant:
            raise Problem("not_found", "Job not found")
        return run

    async def find(self, wanted: Wanted) -> Page:
        """Return a page of the caller's jobs."""
        return await self.runs.find(replace(wanted, tenant=self.caller.tenant))

    async def knows(self, key: str) -> bool:
        """Return whether a job with this idempotency key exists."""
        return await self.runs.knows(key)

    async def unfinished(self, tenant: str | None) -> int:
        """Return the number of the caller's unfinished jobs."""
        return await self.runs.unfinished(self.caller.tenant or tenant)

    async def outlook(self, job_type: JobType, control: Control) -> Outlook:
        """Estimate a job among the jobs of all tenants; counts towards the rate limit."""
        self.gate.count(self.caller)
        return await self.runs.outlook(job_type, control)

    async def require_inputs(self, job: Job) -> None:
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

    async def cancel(self, job_id: UUID, word: str = "cancelled") -> Run:
        """Request cancellation of one of the caller's jobs, with its child jobs."""
        run = await self.read(job_id)
        if run.type in CHAINS:
            return await cancel_family(self.runs, job_id, word)
        return await self.runs.cancel(job_id, word)

    async def remove(self, job_id: UUID) -> None:
        """Delete one of the caller's ended jobs."""
        await self.read(job_id)
        await self.runs.remove(job_id)

    async def logs(self, job_id: UUID, after: str | None, level: int, limit: int) -> LogPage:
        """Return a page of the log of one of the caller's jobs."""
        await self.read(job_id)
        return await self.runs.logs(job_id, after, level, limit)

    async def changed(self, job_id: UUID, limit_s: float) -> None:
        """Wait until a job may have changed."""
        await self.runs.changed(job_id, limit_s)

    async def faults(self) -> dict[str, str | None]:
        """Return the problem of each part of the job system."""
        return await self.runs.faults()
