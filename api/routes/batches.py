"""Routes for batches: many jobs of one type as one job; pause, resume, cancel and retry of failed rows."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.auth.api_keys import CANCEL, READ, SUBMIT
from api.dependencies import JobsDep, SuspenderDep
from api.errors import Problem
from api.http.headers import IdempotencyKeyHeader
from api.jobs.model import FINAL_STATUSES, Job, JobStore
from api.routes.retry import submit_retry
from api.routes.submit import add_submit_route
from api.schemas import job_views
from api.schemas.job_query import ChildJobsQuery
from api.schemas.job_request import request_model
from api.schemas.job_views import JobPage, JobView
from flows.registry import JOB_TYPES

router = APIRouter(prefix="/v1/batches", tags=["batches"])

_BATCH = JOB_TYPES["batch"]
_BATCH_TYPES = frozenset({"batch", "render_new"})

add_submit_route(
    router,
    "",
    request_model(_BATCH),
    lambda _: _BATCH,
    "new_batch",
    "Run many jobs of one type as a batch; a dry run validates every row",
)


async def _read_batch(jobs: JobStore, batch_id: UUID) -> Job:
    job = await jobs.read(batch_id)
    if job.type not in _BATCH_TYPES:
        raise Problem("not_found", "Batch not found")
    return job


@router.get("/{batch_id}", name="read_batch", dependencies=[READ])
async def read_batch(request: Request, jobs: JobsDep, batch_id: UUID) -> JobView:
    """Return a batch and its status."""
    return job_views.job_view(request, await _read_batch(jobs, batch_id))


@router.get("/{batch_id}/jobs", name="list_batch_jobs", dependencies=[READ])
async def list_batch_jobs(
    request: Request, jobs: JobsDep, batch_id: UUID, query: Annotated[ChildJobsQuery, Query()]
) -> JobPage:
    """List the child jobs of a batch, newest first; `part` is the row's id."""
    await _read_batch(jobs, batch_id)
    page = await jobs.find(query.to_filter(batch_id))
    return JobPage(jobs=[job_views.job_view(request, run) for run in page.jobs], next_cursor=page.next)


@router.post("/{batch_id}/pause", name="pause_batch", dependencies=[SUBMIT])
async def pause_batch(request: Request, jobs: JobsDep, suspender: SuspenderDep, batch_id: UUID) -> JobView:
    """Pause a batch: start no more rows; rows that have started continue."""
    job = await _read_batch(jobs, batch_id)
    if job.status in FINAL_STATUSES or job.cancel_requested:
        raise Problem("not_ready", f"The batch is {job.status} and cannot be paused.")
    if not job.paused:
        await suspender.pause(batch_id)
    return job_views.job_view(request, await _wait_for_pause_state(jobs, batch_id, paused=True))


@router.post("/{batch_id}/resume", name="resume_batch", dependencies=[SUBMIT])
async def resume_batch(request: Request, jobs: JobsDep, suspender: SuspenderDep, batch_id: UUID) -> JobView:
    """Resume a paused batch; a batch that is not paused is unchanged."""
    job = await _read_batch(jobs, batch_id)
    if job.paused:
        await suspender.resume(batch_id)
        job = await _wait_for_pause_state(jobs, batch_id, paused=False)
    return job_views.job_view(request, job)


async def _wait_for_pause_state(jobs: JobStore, batch_id: UUID, *, paused: bool) -> Job:
    """Return the job once it shows the new pause state or has ended; gives up after 20 reads."""
    job = await jobs.read(batch_id)
    for _ in range(20):
        if job.paused is paused or job.status in FINAL_STATUSES:
            break
        await jobs.wait_for_change(batch_id, 0.2)
        job = await jobs.read(batch_id)
    return job


@router.post("/{batch_id}/cancel", name="cancel_batch", dependencies=[CANCEL])
async def cancel_batch(request: Request, jobs: JobsDep, batch_id: UUID) -> JobView:
    """Cancel a batch and its unfinished child jobs."""
    await _read_batch(jobs, batch_id)
    return job_views.job_view(request, await jobs.cancel(batch_id))


@router.post("/{batch_id}/retry", status_code=202, name="retry_batch", dependencies=[SUBMIT])
async def retry_batch(
    request: Request, response: Response, jobs: JobsDep, batch_id: UUID, key: IdempotencyKeyHeader = None
) -> JobView:
    """Retry a batch as a new batch with all rows; rows that succeeded come from the cache."""
    job = await _read_batch(jobs, batch_id)
    return await submit_retry(request, response, jobs, job, key, is_incomplete=_is_incomplete(job))


def _is_incomplete(job: Job) -> bool:
    result: Any = job.result or {}
    return bool(result.get("failed") or result.get("canceled"))
