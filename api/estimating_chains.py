"""Dry run of a batch: validate every row and estimate the duration from finished jobs of the same type."""

from asyncio import to_thread
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, Field

from api import views
from api.forecast import DurationStats, Eta
from api.models_here import require_models
from api.output_name_warnings import OutputNameWarnings
from api.problems import Problem
from api.runs import JobStore, SubmitOptions
from api.submission_checks import location_faults, to_problem
from flows.batch_rows import batch_rows
from flows.batch_schemas import BatchJob, RowFault
from flows.manifest import Row
from flows.registry import JOB_TYPES

_MAX_INVALID_ROWS_LISTED: Final = 100


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
    run_s: views.EtaView | None = Field(description="Run time of one job; null if none has finished.")
    eta: views.EtaView | None = Field(description="Time until all jobs would finish, without other jobs.")
    warnings: list[str]


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
        await require_models(job_type, summary.first_valid_row.job)
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
        run_s=views.eta_view(queue_estimate.durations),
        eta=views.eta_view(_batch_eta(queue_estimate.durations, len(summary.job_keys), job.parallel)),
        warnings=[*([] if queue_estimate.durations else [no_history_warning]), *name_warnings],
    )


def _batch_eta(durations: DurationStats | None, job_count: int, parallel: int) -> Eta | None:
    """Return the time for all jobs, assuming a free worker slot for each of the parallel ones."""
    if durations is None:
        return None
    rounds = -(-job_count // min(parallel, max(job_count, 1)))
    return Eta(p50=durations.p50 * rounds, p90=durations.p90 * rounds)
