"""What a job may not use, said before it is queued: the checks of a submission and of a dry run."""

from asyncio import Semaphore, gather, to_thread
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from api.problems import Problem
from api.runs import Run
from flows.batch_schemas import BatchJob
from flows.job import Job
from flows.job_types import WORK_TYPES
from flows.manifest import rows_of
from flows.references import ASSET, JOB, PlaceFault, Reference, place_faults, references
from tasks.assets import asset_name
from tasks.errors import RenderError

_AT_A_TIME: Final = 8
"""Assets of one job whose owners are looked up at the same time."""


class Reads(Protocol):
    """Looks jobs up as the caller may see them."""

    async def read(self, job_id: UUID) -> Run:
        """Look a job up; a Problem `not_found` when there is none that the caller may see."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """A place or an input that a job cannot have."""

    pointer: str
    """The field, as a JSON pointer."""
    code: str
    detail: str


def refusal(faults: Sequence[Fault]) -> Problem:
    """
    Refuse a job.

    Args:
        faults: at least one.

    Returns:
        The fault's own code where there is one fault, else `invalid_input`; all are in `errors`.
    """
    errors = [{"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in faults]
    one = faults[0]
    code = one.code if len(faults) == 1 else "invalid_input"
    detail = one.detail if len(faults) == 1 else f"{len(faults)} inputs or places cannot be had."
    return Problem(code, detail, errors=errors)


async def places_refused(job: Job) -> list[Fault]:
    """Return the inputs and output places that no job of the caller may use; nothing is sent."""
    return _said(await to_thread(lambda: list(place_faults(job))))


def _said(found: Iterable[PlaceFault]) -> list[Fault]:
    return [Fault(one.pointer, one.error.code, str(one.error)) for one in found]


async def others_things(runs: Reads, job: Job) -> list[Fault]:
    """
    Return the jobs and assets that a job names and its caller may not see, or that are not there.

    Args:
        runs: as the caller may see them.
        job:  of any type; of a batch the rows in the request, too.
    """
    found = await to_thread(lambda: list({one.uri: one for one in _all_references(job)}.values()))
    free = Semaphore(_AT_A_TIME)

    async def looked(reference: Reference) -> Fault | None:
        async with free:
            return await _looked(runs, reference)

    return [fault for fault in await gather(*map(looked, found)) if fault is not None]


def _all_references(job: Job) -> Iterable[Reference]:
    yield from references(job)
    if isinstance(job, BatchJob) and job.rows is not None:
        rows = rows_of(job.rows, job.job_type, WORK_TYPES[job.job_type].job, job.defaults)
        for row in rows:
            for one in references(row.job) if row.job is not None else ():
                yield Reference(f"#/rows/{row.number - 1}{one.pointer[1:]}", one.uri)


async def _looked(runs: Reads, reference: Reference) -> Fault | None:
    if reference.uri.startswith(JOB):
        job = reference.uri.removeprefix(JOB).split("/", 1)[0]
        try:
            await runs.read(UUID(job))
        except Problem as problem:
            if problem.code != "not_found":
                raise
            return Fault(reference.pointer, "input_not_found", f"{JOB}{job} is not known.")
    if reference.uri.startswith(ASSET):
        try:
            await to_thread(asset_name, reference.uri.removeprefix(ASSET))
        except RenderError as error:
            if error.retryable:  # the store's own trouble: the job will see
                return None
            return Fault(reference.pointer, error.code, str(error))
    return None
