"""
Checks before a job is queued: access to its inputs and output locations, and its installed model.

The model is checked only if the API shares the models folder with its workers.
"""

from asyncio import Semaphore, gather, to_thread
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from api.errors import MAX_ERRORS, Problem
from api.jobs.model import Job
from flows.batches.manifest import validate_rows
from flows.registry import JobType
from flows.schemas.base import JobParameters
from flows.schemas.batch import BatchJob
from flows.schemas.job_types import MEDIA_JOB_TYPES
from flows.storage.job_access import (
    ASSET_SCHEME,
    JOB_SCHEME,
    AccessFault,
    Reference,
    access_faults,
    references,
)
from tasks.catalog.assets import asset_name
from tasks.errors import RenderError
from tasks.settings import get_settings

_MAX_CONCURRENT_LOOKUPS: Final = 8
"""Maximum number of concurrent lookups for one job."""


class JobReader(Protocol):
    """The interface to read jobs that the caller may see."""

    async def read(self, job_id: UUID) -> Job:
        """Return a job; raises Problem `not_found` if it does not exist or the caller may not see it."""
        ...


@dataclass(frozen=True, slots=True)
class LocationFault:
    """An input or output location that a job may not use."""

    pointer: str
    """JSON pointer to the field."""
    code: str
    detail: str


def to_problem(faults: Sequence[LocationFault]) -> Problem:
    """
    Return the problem that rejects a job.

    Args:
        faults: at least one.

    Returns:
        A problem with the fault's code if there is only one, otherwise `invalid_input`. `errors` lists all.
    """
    errors = [{"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in faults[:MAX_ERRORS]]
    one = faults[0]
    code = one.code if len(faults) == 1 else "invalid_input"
    detail = one.detail if len(faults) == 1 else f"{len(faults)} inputs or output locations cannot be used."
    return Problem(code, detail, errors=errors)


async def location_faults(job: JobParameters) -> list[LocationFault]:
    """Return the inputs and output locations that the caller may not use. Sends no request."""
    return _to_faults(await to_thread(lambda: list(access_faults(job))))


def _to_faults(access_errors: Iterable[AccessFault]) -> list[LocationFault]:
    return [LocationFault(one.pointer, one.error.code, str(one.error)) for one in access_errors]


async def reference_faults(jobs: JobReader, job: JobParameters) -> list[LocationFault]:
    """
    Return the references to jobs and assets that do not exist or that the caller may not see.

    Args:
        jobs: the jobs that the caller may see.
        job:  parameters of any job type; the rows in a batch's request are checked too.
    """
    unique_references = await to_thread(lambda: list({one.uri: one for one in _all_references(job)}.values()))
    semaphore = Semaphore(_MAX_CONCURRENT_LOOKUPS)

    async def check(reference: Reference) -> LocationFault | None:
        async with semaphore:
            return await _check_reference(jobs, reference)

    return [fault for fault in await gather(*map(check, unique_references)) if fault is not None]


def _all_references(job: JobParameters) -> Iterable[Reference]:
    yield from references(job)
    if isinstance(job, BatchJob) and job.rows is not None:
        rows = validate_rows(job.rows, job.job_type, MEDIA_JOB_TYPES[job.job_type].job, job.defaults)
        for row in rows:
            for one in references(row.job) if row.job is not None else ():
                yield Reference(f"#/rows/{row.number - 1}{one.pointer[1:]}", one.uri)


async def _check_reference(jobs: JobReader, reference: Reference) -> LocationFault | None:
    if reference.uri.startswith(JOB_SCHEME):
        job_id = reference.uri.removeprefix(JOB_SCHEME).split("/", 1)[0]
        try:
            await jobs.read(UUID(job_id))
        except Problem as problem:
            if problem.code != "not_found":
                raise
            return LocationFault(
                reference.pointer, "input_not_found", f"{JOB_SCHEME}{job_id} does not exist."
            )
    if reference.uri.startswith(ASSET_SCHEME):
        try:
            await to_thread(asset_name, reference.uri.removeprefix(ASSET_SCHEME))
        except RenderError as error:
            if error.retryable:  # the store is unavailable; the flow checks again
                return None
            return LocationFault(reference.pointer, error.code, str(error))
    return None


async def check_models(job_type: JobType, job: JobParameters) -> list[str]:
    """
    Check that a job's models are installed, if the setting `api.models_here` is on.

    With workers on other computers only the worker can check; the job then fails there.

    Returns:
        A warning for each model that another one substitutes.

    Raises:
        ModelNotInstalled: a model is not installed, and the job allows no substitute or there is none.
    """
    return await to_thread(job_type.check_models, job) if get_settings().api.models_here else []
