"""
Dry run of a job or a batch: check it and estimate its duration without queueing it.

A single job's inputs are requested from their servers; a batch's rows are only validated, as the flow would.
"""

from asyncio import gather, to_thread
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from api.errors import Problem
from api.jobs.eta import DurationStats, Eta
from api.jobs.model import FINAL_STATUSES, JobStore, SubmitOptions
from api.jobs.output_name_warnings import OutputNameWarnings
from api.jobs.outputs import output_files
from api.jobs.submission_checks import LocationFault, check_models, location_faults, to_problem
from api.schemas import job_views
from flows.batches.manifest import Row
from flows.batches.rows import batch_rows
from flows.registry import JOB_TYPES, JobType
from flows.schemas.base import JobParameters
from flows.schemas.batch import BatchJob, RowFault
from flows.storage.job_access import JOB_SCHEME, references
from tasks.errors import RenderError
from tasks.inputs.sources import MediaKind, probe_input
from tasks.refs import job_file_name

_MEDIA_KINDS: Final[dict[str, MediaKind]] = {"audio": "audio", "reference_audio": "audio", "captions": "text"}
_MAX_INVALID_ROWS_LISTED: Final = 100


class InputView(BaseModel):
    """An input that was checked."""

    pointer: str = Field(description="JSON pointer to the field.", examples=["#/video"])
    name: str
    size: int | None = Field(description="Size in bytes; null if its server does not report it.")


class EstimateView(BaseModel):
    """The result of a dry run."""

    type: str
    valid: bool = True
    inputs: list[InputView]
    queue_position: int = Field(description="Position in the queue that the job would get.")
    run_s: job_views.EtaView | None = Field(
        description="Run time of finished jobs of this type; null if none has finished."
    )
    eta: job_views.EtaView | None = Field(description="Time until the job would finish, queueing included.")
    warnings: list[str]


class BadRowView(BaseModel):
    """An invalid row."""

    row: int = Field(description="Row number, starting at 1.")
    id: str
    faults: list[RowFault]


class BatchEstimateView(BaseModel):
    """The result of a batch's dry run."""

    type: str = "batch"
    valid: bool = Field(description="Whether the batch would be accepted and at least one row would run.")
    total: int = Field(description="Number of rows.")
    jobs: int = Field(description="Number of distinct jobs; identical rows count once.")
    bad_rows: list[BadRowView] = Field(description="The first 100 invalid rows.")
    run_s: job_views.EtaView | None = Field(description="Run time of one job; null if none has finished.")
    eta: job_views.EtaView | None = Field(description="Time until all jobs would finish, without other jobs.")
    warnings: list[str]


async def estimate_job(
    jobs: JobStore, job_type: JobType, job: JobParameters, options: SubmitOptions
) -> EstimateView:
    """
    Check a job's inputs and output location, and estimate its duration from the queue.

    Args:
        jobs:     the jobs that the caller may see.
        job_type: the job's type.
        job:      its parameters.
        options:  its submit options.

    Raises:
        Problem: `invalid_input` if the job has several errors, all of them listed in `errors`; the error's
            own code if there is one.
    """
    # first, because it counts towards the rate limit: no input is fetched for a caller over the limit
    queue_estimate = await jobs.estimate(job_type, options.control)
    inspections = await gather(
        *(_inspect_input(jobs, job_type, one.pointer, one.uri) for one in references(job)),
        return_exceptions=True,
    )
    faults = await location_faults(job)
    reported_pointers = {fault.pointer for fault in faults}
    for one in inspections:
        if isinstance(one, _UnusableInput):
            faults += [one.fault] if one.fault.pointer not in reported_pointers else []
        elif isinstance(one, BaseException):
            raise one
    if faults:
        raise to_problem(faults)
    no_history_warning = "No job of this type has finished yet, so its duration cannot be estimated."
    return EstimateView(
        type=job_type.name,
        inputs=[one for one in inspections if isinstance(one, InputView)],
        queue_position=queue_estimate.jobs_ahead + 1,
        run_s=job_views.eta_view(queue_estimate.durations),
        eta=job_views.eta_view(queue_estimate.eta),
        warnings=[] if queue_estimate.durations else [no_history_warning],
    )


class _UnusableInput(Exception):
    """An input that the job cannot use."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = LocationFault(pointer, code, detail)


async def _inspect_input(jobs: JobStore, job_type: JobType, pointer: str, uri: str) -> InputView:
    if uri.startswith(JOB_SCHEME):
        return await _inspect_job_output(jobs, pointer, uri.removeprefix(JOB_SCHEME))
    name = pointer.rsplit("/", 1)[-1]
    kind = _MEDIA_KINDS.get(name, "image" if job_type.name == "analyze" else "video")
    try:
        info = await to_thread(probe_input, uri, kind)
    except RenderError as error:
        raise _UnusableInput(pointer, error.code, str(error)) from error
    return InputView(pointer=pointer, name=info.name, size=info.size)


async def _inspect_job_output(jobs: JobStore, pointer: str, job_path: str) -> InputView:
    """Check an output of another job, which must have ended."""
    job_id, requested_file = job_path.partition("/")[0], job_file_name(job_path)
    try:
        job = await jobs.read(UUID(job_id))
    except (ValueError, Problem):
        raise _UnusableInput(
            pointer, "input_not_found", f"{JOB_SCHEME}{job_id[:64]} does not exist."
        ) from None
    if job.status not in FINAL_STATUSES:
        raise _UnusableInput(pointer, "input_not_found", f"{JOB_SCHEME}{job_id} is still {job.status}.")
    for file in output_files(job):
        if requested_file in {"", file.name} or file.name.endswith(f".{requested_file}"):
            return InputView(pointer=pointer, name=file.name, size=file.size)
    raise _UnusableInput(
        pointer, "input_not_found", f"{JOB_SCHEME}{job_path[:200]}: the job has no such file."
    )


async def estimate_batch(jobs: JobStore, job: BatchJob, options: SubmitOptions) -> BatchEstimateView:
    """
    Validate all rows of a batch as the flow would, and estimate how long they take.

    Args:
        jobs:    the jobs that the caller may see.
        job:     the batch.
        options: its submit options.

    Raises:
        Problem, RenderError: the batch would be rejected: its manifest cannot be read or has too many rows,
            or it names a location that it may not use.
    """
    job_type = JOB_TYPES[job.job_type]
    # first, because it counts towards the rate limit: nothing is fetched for a caller over the limit
    queue_estimate = await jobs.estimate(job_type, options.control)
    if faults := await location_faults(job):
        raise to_problem(faults)
    summary = _RowSummary()
    await to_thread(lambda: summary.add(batch_rows(job)))
    if summary.first_valid_row is not None and summary.first_valid_row.job is not None:
        await check_models(job_type, summary.first_valid_row.job)
    valid = bool(summary.job_keys) and not (summary.invalid_rows and job.on_bad_rows == "fail")
    no_history_warning = "No job of this type has finished yet, so the duration cannot be estimated."
    if not summary.total:
        raise Problem("manifest_invalid", "The batch has no rows.")
    name_warnings = await to_thread(summary.name_warnings.warnings)
    return BatchEstimateView(
        valid=valid,
        total=summary.total,
        jobs=len(summary.job_keys),
        bad_rows=summary.invalid_rows,
        run_s=job_views.eta_view(queue_estimate.durations),
        eta=job_views.eta_view(_batch_eta(queue_estimate.durations, len(summary.job_keys), job.parallel)),
        warnings=[*([] if queue_estimate.durations else [no_history_warning]), *name_warnings],
    )


class _RowSummary:
    def __init__(self) -> None:
        self.total, self.job_keys, self.invalid_rows = 0, set[str](), list[BadRowView]()
        self.first_valid_row: Row | None = None
        self.name_warnings = OutputNameWarnings()

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.total += 1
            if row.job is not None:
                if row.key not in self.job_keys:
                    self.name_warnings.add(row.id, row.job)
                self.job_keys.add(row.key)
                self.first_valid_row = self.first_valid_row or row
            elif len(self.invalid_rows) < _MAX_INVALID_ROWS_LISTED:
                faults = [RowFault(pointer=one.pointer, detail=one.detail) for one in row.faults]
                self.invalid_rows.append(BadRowView(row=row.number, id=row.id, faults=faults))


def _batch_eta(durations: DurationStats | None, job_count: int, parallel: int) -> Eta | None:
    """Return the time for all jobs, assuming a free worker slot for each of the parallel ones."""
    if durations is None:
        return None
    rounds = -(-job_count // min(parallel, max(job_count, 1)))
    return Eta(p50=durations.p50 * rounds, p90=durations.p90 * rounds)
