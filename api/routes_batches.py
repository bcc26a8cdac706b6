"""Routes for batches: many jobs of one type as one job; pause, resume, cancel and retry of failed rows."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api import views
from api.doors import PausingDep, RunsDep
from api.idempotency import KeyHeader
from api.keys import CANCEL, READ, SUBMIT
from api.listing import PartsQuery
from api.problems import Problem
from api.retrying import retried
from api.runs import FINAL, Run, Runs
from api.submission import request_model
from api.submitting import add_submit_route
from api.views import JobPage, JobView
from flows.registry import JOB_TYPES

router = APIRouter(prefix="/v1/batches", tags=["batches"])

_BATCH = JOB_TYPES["batch"]
_KINDS = frozenset({"batch", "render_new"})

add_submit_route(
    router,
    "",
    request_model(_BATCH),
    lambda _: _BATCH,
    "new_batch",
    "Run many jobs of one type as a batch; a dry run validates every row",
)


async def _read(runs: Runs, batch_id: UUID) -> Run:
    run = await runs.read(batch_id)
    if run.type not in _KINDS:
        raise Problem("not_found", "Batch not found")
    return run


@router.get("/{batch_id}", name="read_batch", dependencies=[READ])
async def read_batch(request: Request, runs: RunsDep, batch_id: UUID) -> JobView:
    """Return a batch and its status."""
    return views.job_view(request, await _read(runs, batch_id))


@router.get("/{batch_id}/jobs", name="list_batch_jobs", dependencies=[READ])
async def list_batch_jobs(
    request: Request, runs: RunsDep, batch_id: UUID, query: Annotated[PartsQuery, Query()]
) -> JobPage:
    """List the child jobs of a batch, newest first; `part` is the row's id."""
    await _read(runs, batch_id)
    page = await runs.find(query.wanted_of(batch_id))
    return JobPage(jobs=[views.job_view(request, run) for run in page.runs], next_cursor=page.next)


@router.post("/{batch_id}/pause", name="pause_batch", dependencies=[SUBMIT])
async def pause_batch(request: Request, runs: RunsDep, pausing: PausingDep, batch_id: UUID) -> JobView:
    """Pause a batch: start no more rows; rows that have started continue."""
    run = await _read(runs, batch_id)
    if run.status in FINAL or run.cancel_requested:
        raise Problem("not_ready", f"The batch is {run.status} and cannot be paused.")
    if not run.paused:
        await pausing.pause(batch_id)
    return views.job_view(request, await _settled(runs, batch_id, paused=True))


@router.post("/{batch_id}/resume", name="resume_batch", dependencies=[SUBMIT])
async def resume_batch(request: Request, runs: RunsDep, pausing: PausingDep, batch_id: UUID) -> JobView:
    """Resume a paused batch; a batch that is not paused is unchanged."""
    run = await _read(runs, batch_id)
    if run.paused:
        await pausing.resume(batch_id)
        run = await _settled(runs, batch_id, paused=False)
    return views.job_view(request, run)


async def _settled(runs: Runs, batch_id: UUID, *, paused: bool) -> Run:
    """Return the job once it shows the new pause state or has ended; gives up after 20 reads."""
    run = await runs.read(batch_id)
    for _ in range(20):
        if run.paused is paused or run.status in FINAL:
            break
        await runs.changed(batch_id, 0.2)
        run = await runs.read(batch_id)
    return run


@router.post("/{batch_id}/cancel", name="cancel_batch", dependencies=[CANCEL])
async def cancel_batch(request: Request, runs: RunsDep, batch_id: UUID) -> JobView:
    """Cancel a batch and its unfinished child jobs."""
    await _read(runs, batch_id)
    return views.job_view(request, await runs.cancel(batch_id))


@router.post("/{batch_id}/retry", status_code=202, name="retry_batch", dependencies=[SUBMIT])
async def retry_batch(
    request: Request, response: Response, runs: RunsDep, batch_id: UUID, key: KeyHeader = None
) -> JobView:
    """Retry a batch as a new batch with all rows; rows that succeeded come from the cache."""
    run = await _read(runs, batch_id)
    return await retried(request, response, runs, run, key, is_incomplete=_is_incomplete(run))


def _is_incomplete(run: Run) -> bool:
    result: Any = run.result or {}
    return bool(result.get("failed") or result.get("canceled"))
