"""The `batch` flow: many jobs of one type, one child job per row."""

from prefect import flow

from flows.batches.rows import batch_rows
from flows.orchestration.batch_runner import BatchPlan, DiscoveredRows, run_batch
from flows.orchestration.run_report import run_report
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.batch import BatchJob, BatchResult
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.storage.job_access import check_access
from tasks.run.retry import retry_transient


@flow(name="batch", **FLOW_OPTIONS)
def batch(job: BatchJob, control: Control = DEFAULT_CONTROL) -> BatchResult:
    """Run one child job per row. The batch succeeds when all rows have ended; its result reports each row."""
    plan = BatchPlan(
        type=job.job_type,
        discover_rows=lambda: DiscoveredRows(batch_rows(job, retry_transient)),
        parallel=job.parallel,
        output=job.output,
        requires_valid_rows=job.on_bad_rows == "fail",
    )
    with run_report() as report:
        check_access(job)
        return run_batch(plan, report)
