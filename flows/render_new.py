"""The `render_new` flow: run a job for each new object in a bucket folder, once per object."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from prefect import flow

from flows.batch_rows import placed_rows
from flows.batch_schemas import BatchResult, RenderNewJob
from flows.chains.books import books
from flows.chains.rows import Found, Order, run_rows
from flows.control import USUAL, Control
from flows.job_access import check_access
from flows.manifest import Row
from flows.memory import note, recall
from flows.options import JOB
from flows.windows import Span, looked_until, spans


@flow(name="render_new", **JOB)
def render_new(job: RenderNewJob, control: Control = USUAL) -> BatchResult:
    """
    List the objects created since the last run and process them as a batch.

    Two concurrent runs create no job twice, because the idempotency key of a child job covers the watch name
    and the versions of its inputs. The watermark is stored after all rows have ended, so a failed run skips
    nothing.
    """
    order = Order(
        type=job.job_type,
        look=lambda: _look(job, control),
        parallel=job.parallel,
        output=job.output,
        scope=f"render_new {control.tenant or ''} {job.name}",
    )
    with books() as open_books:
        check_access(job)
        result = run_rows(order, open_books)
        if result.until is not None:
            note(job.name, control.tenant, result.until)
    return result


def _look(job: RenderNewJob, control: Control) -> Found:
    found = spans(job, datetime.now(UTC), recall(job.name, control.tenant))
    return Found(_new_rows(job, found), looked_until(job, found))


def _new_rows(job: RenderNewJob, found: Sequence[Span]) -> Iterator[Row]:
    if not found:
        return
    for placed in placed_rows(job.job_type, job.places, job.defaults):
        if any(span.holds(placed.modified) for span in found):
            yield placed.row
