"""Jobs as one caller may see them: those of other tenants are not there."""

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
    """All of `Runs`, for one caller."""

    runs: Runs
    caller: Key
    gate: Gate

    async def create(self, job_type: JobType, job: Job, terms: Terms = USUAL_TERMS) -> Run:
        """
        Queue a job in the caller's name.

        Raises:
            Problem: what `require_inputs` and `Gate.admit` raise.
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
        """Look a job up; somebody else's is `not_found`."""
        run = await self.runs.read(job_id)
        if self.caller.tenant is not None and run.control.tenant != self.caller.tenant:
            raise Problem("not_found", "Job not found")
        return run

    async def find(self, wanted: Wanted) -> Page:
        """List the caller's jobs."""
        return await self.runs.find(replace(wanted, tenant=self.caller.tenant))

    async def knows(self, key: str) -> bool:
        """Tell whether there is a job of this idempotency key."""
        return await self.runs.knows(key)

    async def unfinished(self, tenant: str | None) -> int:
        """Count the caller's jobs that have not ended."""
        return await self.runs.unfinished(self.caller.tenant or tenant)

    async def outlook(self, job_type: JobType, control: Control) -> Outlook:
        """Say how long a job would wait and run, beside everybody's."""
        self.gate.count(self.caller)
        return await self.runs.outlook(job_type, control)

    async def require_inputs(self, job: Job) -> None:
        """
        Check that a job uses no forbidden location and no output or asset that the caller may not see.

        Raises:
            Problem: `input_not_found`, `bucket_not_allowed`, `local_path_disabled`; `invalid_input` for
                several faults.
        """
        faults = await location_faults(job)
        if self.caller.tenant is not None:
            faults += await reference_faults(self, job)
        if faults:
            raise to_problem(faults)

    async def cancel(self, job_id: UUID, word: str = "cancelled") -> Run:
        """Ask one of the caller's jobs to stop."""
        run = await self.read(job_id)
        if run.type in CHAINS:
            return await cancel_family(self.runs, job_id, word)
        return await self.runs.cancel(job_id, word)

    async def remove(self, job_id: UUID) -> None:
        """Take away what is known of one of the caller's jobs."""
        await self.read(job_id)
        await self.runs.remove(job_id)

    async def logs(self, job_id: UUID, after: str | None, level: int, limit: int) -> LogPage:
        """Read what one of the caller's jobs said."""
        await self.read(job_id)
        return await self.runs.logs(job_id, after, level, limit)

    async def changed(self, job_id: UUID, limit_s: float) -> None:
        """Return when a job may have changed."""
        await self.runs.changed(job_id, limit_s)

    async def faults(self) -> dict[str, str | None]:
        """Say what is wrong with the job system, which is everybody's."""
        return await self.runs.faults()
