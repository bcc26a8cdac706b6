"""The `batch` flow: many jobs of one type, one child job per row."""

from prefect import flow

from flows.batch_rows import batch_rows
from flows.batch_schemas import BatchJob, BatchResult
from flows.chains.books import books
from flows.chains.rows import Found, Order, run_rows
from flows.control import USUAL, Control
from flows.job_access import check_access
from flows.options import JOB


@flow(name="batch", **JOB)
def batch(job: BatchJob, control: Control = USUAL) -> BatchResult:
    """Run one child job per row. The batch succeeds when all rows have ended; its result reports each row."""
    order = Order(
        type=job.job_type,
        look=lambda: Found(batch_rows(job)),
        parallel=job.parallel,
        output=job.output,
        all_good=job.on_bad_rows == "fail",
    )
    with books() as open_books:
        check_access(job)
        return run_rows(order, open_books)
