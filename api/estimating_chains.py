"""A dry run of what makes many jobs: every row is looked at, and the time is guessed from such jobs."""

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
    """A row that is no job."""

    row: int = Field(description="From 1.")
    id: str
    faults: list[RowFault]


class BatchEstimateView(BaseModel):
    """What would become of a batch, had it been queued."""

    type: str = "batch"
    valid: bool = Field(description="It would be taken, and at least one row would be done.")
    total: int = Field(description="Rows.")
    jobs: int = Field(description="Rows that are jobs; rows that do the same count once.")
    bad_rows: list[BadRowView] = Field(description="Rows that are none, the first 100.")
    run_s: views.EtaView | None = Field(description="How long one such job runs; null when none has ended.")
    eta: views.EtaView | None = Field(description="When all would be done, with no other jobs about.")
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
    Read all rows of a batch, each as it would be when it is done, and guess how long they take.

    Args:
        runs:  as the caller may see them.
        job:   the batch.
        terms: how it is to be taken.

    Raises:
        Problem, RenderError: it would not be taken: its manifest cannot be read, or has too many rows, or it
            names a place that it may not use.
    """
    job_type = JOB_TYPES[job.job_type]
    outlook = await runs.outlook(job_type, terms.control)  # counts, so before anything is asked of others
    if faults := await location_faults(job):
        raise to_problem(faults)
    count = _Count()
    await to_thread(lambda: count.add(batch_rows(job)))
    if count.first is not None and count.first.job is not None:
        await require_models(job_type, count.first.job)
    valid = bool(count.keys) and not (count.bad and job.on_bad_rows == "fail")
    unknown = "No job of this type has finished yet: there is nothing to guess from."
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
    """So many jobs, some at a time, as if there were a place for each of those."""
    if took is None:
        return None
    rounds = -(-jobs // min(parallel, max(jobs, 1)))
    return Eta(p50=took.p50 * rounds, p90=took.p90 * rounds)
