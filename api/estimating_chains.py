"""Dry run of a batch: validate every row and estimate the duration from finished jobs of the same type."""

from asyncio import to_thread
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, Field

from api import views
from api.forecast import Eta, Took
from api.models_here import require_models
from api.output_name_warnings import OutputNameWarnings
from api.problems import Problem
from api.runs import Runs, Terms
from api.submission_checks import location_faults, to_problem
from flows.batch_rows import batch_rows
from flows.batch_schemas import BatchJob, RowFault
from flows.manifest import Row
from flows.registry import JOB_TYPES

_SHOWN: Final = 100


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


class _Count:
    def __init__(self) -> None:
        self.total, self.keys, self.bad = 0, set[str](), list[BadRowView]()
        self.first: Row | None = None
        self.names = OutputNameWarnings()

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.total += 1
            if row.job is not None:
                if row.key not in self.keys:
                    self.names.add(row.id, row.job)
                self.keys.add(row.key)
                self.first = self.first or row
            elif len(self.bad) < _SHOWN:
                faults = [RowFault(pointer=one.pointer, detail=one.detail) for one in row.faults]
                self.bad.append(BadRowView(row=row.number, id=row.id, faults=faults))


async def estimated_batch(runs: Runs, job: BatchJob, terms: Terms) -> BatchEstimateView:
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
    outlook = await runs.outlook(job_type, terms.control)
    if faults := await location_faults(job):
        raise to_problem(faults)
    count = _Count()
    await to_thread(lambda: count.add(batch_rows(job)))
    if count.first is not None and count.first.job is not None:
        await require_models(job_type, count.first.job)
    valid = bool(count.keys) and not (count.bad and job.on_bad_rows == "fail")
    unknown = "No job of this type has finished yet, so the duration cannot be estimated."
    if not count.total:
        raise Problem("manifest_invalid", "The batch has no rows.")
    names = await to_thread(count.names.warnings)
    return BatchEstimateView(
        valid=valid,
        total=count.total,
        jobs=len(count.keys),
        bad_rows=count.bad,
        run_s=views.eta_view(outlook.took),
        eta=views.eta_view(_all(outlook.took, len(count.keys), job.parallel)),
        warnings=[*([] if outlook.took else [unknown]), *names],
    )


def _all(took: Took | None, jobs: int, parallel: int) -> Eta | None:
    """Return the time for all jobs, assuming a free worker slot for each of the parallel ones."""
    if took is None:
        return None
    rounds = -(-jobs // min(parallel, max(jobs, 1)))
    return Eta(p50=took.p50 * rounds, p90=took.p90 * rounds)
