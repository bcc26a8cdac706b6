"""Access checks of a job's inputs and output location before it is queued; also used by dry runs."""

from asyncio import Semaphore, gather, to_thread
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from api.problems import Problem
from api.runs import Run
from flows.batch_schemas import BatchJob
from flows.job import Job
from flows.job_access import ASSET, JOB, AccessFault, Reference, access_faults, references
from flows.job_types import WORK_TYPES
from flows.manifest import rows_of
from tasks.assets import asset_name
from tasks.errors import RenderError

_MAX_CONCURRENT_LOOKUPS: Final = 8
"""Maximum number of concurrent lookups for one job."""


class JobReader(Protocol):
    """The interface to read jobs that the caller may see."""

    async def read(self, job_id: UUID) -> Run:
        """Return a job; raises Problem `not_found` if it does not exist or the caller may not see it."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """An input or output location that a job may not use."""

    pointer: str
    """JSON pointer to the field."""
    code: str
    detail: str


def to_problem(faults: Sequence[Fault]) -> Problem:
    """
    Return the problem that rejects a job.

    Args:
        faults: at least one.

    Returns:
        A problem with the fault's code if there is only one, otherwise `invalid_input`. `errors` lists all.
    """
    errors = [{"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in faults]
    one = faults[0]
    code = one.code if len(faults) == 1 else "invalid_input"
    detail = one.detail if len(faults) == 1 else f"{len(faults)} inputs or output locations cannot be used."
    return Problem(code, detail, errors=errors)


async def location_faults(job: Job) -> list[Fault]:
    """Return the inputs and output locations that the caller may not use. Sends no request."""
    return _to_faults(await to_thread(lambda: list(access_faults(job))))


def _to_faults(found: Iterable[AccessFault]) -> list[Fault]:
    return [Fault(one.pointer, one.error.code, str(one.error)) for one in found]


async def reference_faults(runs: JobReader, job: Job) -> list[Fault]:
    """
    Return the references to jobs and assets that do not exist or that the caller may not see.

    Args:
        jobs: the jobs that the caller may see.
        job:  parameters of any job type; the rows in a batch's request are checked too.
    """
    found = await to_thread(lambda: list({one.uri: one for one in _all_references(job)}.values()))
    free = Semaphore(_MAX_CONCURRENT_LOOKUPS)

    async def looked(reference: Reference) -> Fault | None:
        async with free:
            return await _check_reference(runs, reference)

    return [fault for fault in await gather(*map(looked, found)) if fault is not None]


def _all_references(job: Job) -> Iterable[Reference]:
    yield from references(job)
    if isinstance(job, BatchJob) and job.rows is not None:
        rows = rows_of(job.rows, job.job_type, WORK_TYPES[job.job_type].job, job.defaults)
        for row in rows:
            for one in references(row.job) if row.job is not None else ():
                yield Reference(f"#/rows/{row.number - 1}{one.pointer[1:]}", one.uri)


async def _check_reference(runs: JobReader, reference: Reference) -> Fault | None:
    if reference.uri.startswith(JOB):
        job = reference.uri.removeprefix(JOB).split("/", 1)[0]
        try:
            await runs.read(UUID(job))
        except Problem as problem:
            if problem.code != "not_found":
                raise
            return Fault(reference.pointer, "input_not_found", f"{JOB}{job} does not exist.")
    if reference.uri.startswith(ASSET):
        try:
            await to_thread(asset_name, reference.uri.removeprefix(ASSET))
        except RenderError as error:
            if error.retryable:  # the store is unavailable; the flow checks again
                return None
            return Fault(reference.pointer, error.code, str(error))
    return None
