"""The `render_new` flow: run a job for each new object in a bucket folder, once per object."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from prefect import flow

from flows.batches.manifest import Row
from flows.batches.planner import TimeWindow, watermark_after, windows_to_process
from flows.batches.rows import rows_from_folders
from flows.batches.watermark import load, save
from flows.orchestration.batch_runner import BatchPlan, DiscoveredRows, run_batch
from flows.orchestration.run_report import run_report
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.batch import BatchResult, RenderNewJob
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.storage.job_access import check_access
from tasks.run.retry import retry_transient


@flow(name="render_new", **FLOW_OPTIONS)
def render_new(job: RenderNewJob, control: Control = DEFAULT_CONTROL) -> BatchResult:
    """
    List the objects created since the last run and process them as a batch.

    Two concurrent runs create no job twice, because the idempotency key of a child job covers the watch name
    and the versions of its inputs. The watermark is stored after all rows have ended, so a failed run skips
    nothing.
    """
    plan = BatchPlan(
        type=job.job_type,
        discover_rows=lambda: _discover_rows(job, control),
        parallel=job.parallel,
        output=job.output,
        scope=f"render_new {control.tenant or ''} {job.name}",
    )
    with run_report() as report:
        check_access(job)
        result = run_batch(plan, report)
        if result.until is not None:
            save(job.name, control.tenant, result.until)
    return result


def _discover_rows(job: RenderNewJob, control: Control) -> DiscoveredRows:
    windows = windows_to_process(job, datetime.now(UTC), load(job.name, control.tenant))
    return DiscoveredRows(_new_rows(job, windows), watermark_after(job, windows))


def _new_rows(job: RenderNewJob, windows: Sequence[TimeWindow]) -> Iterator[Row]:
    if not windows:
        return
    for placed in rows_from_folders(job.job_type, job.places, job.defaults, retry_transient):
        if any(span.contains(placed.modified) for span in windows):
            yield placed.row
