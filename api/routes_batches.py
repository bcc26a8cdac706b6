"""Batches over HTTP: many jobs of one type as one, paused and resumed, and done again where rows failed."""

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
    "Do many jobs of one type; a dry run checks every row",
)


async def _read(runs: Runs, batch_id: UUID) -> Run:
    run = await runs.read(batch_id)
    if run.type not in _KINDS:
        raise Problem("not_found", "Batch not found")
    return run


@router.get("/{batch_id}", name="read_batch", dependencies=[READ])
async def read_batch(request: Request, runs: RunsDep, batch_id: UUID) -> JobView:
    """Say where a batch stands."""
    return views.job_view(request, await _read(runs, batch_id))


@router.get("/{batch_id}/jobs", name="list_batch_jobs", dependencies=[READ])
async def list_batch_jobs(
    request: Request, runs: RunsDep, batch_id: UUID, query: Annotated[PartsQuery, Query()]
) -> JobPage:
    """List the jobs that a batch has begun, the newest first; `part` is the row."""
    await _read(runs, batch_id)
    page = await runs.find(query.wanted_of(batch_id))
    return JobPage(jobs=[views.job_view(request, run) for run in page.runs], next_cursor=page.next)


@router.post("/{batch_id}/pause", name="pause_batch", dependencies=[SUBMIT])
async def pause_batch(request: Request, runs: RunsDep, pausing: PausingDep, batch_id: UUID) -> JobView:
    """Begin no more rows; those that were begun go on to their end."""
    run = await _read(runs, batch_id)
    if run.status in FINAL or run.cancel_requested:
        raise Problem("not_ready", f"The batch is {run.status}: there is nothing to pause.")
    if not run.paused:
        await pausing.pause(batch_id)
    return views.job_view(request, await _settled(runs, batch_id, paused=True))


@router.post("/{batch_id}/resume", name="resume_batch", dependencies=[SUBMIT])
async def resume_batch(request: Request, runs: RunsDep, pausing: PausingDep, batch_id: UUID) -> JobView:
    """Go on with a paused batch; one that is not paused stays as it is."""
    run = await _read(runs, batch_id)
    if run.paused:
        await pausing.resume(batch_id)
        run = await _settled(runs, batch_id, paused=False)
    return views.job_view(request, run)


async def _settled(runs: Runs, batch_id: UUID, *, paused: bool) -> Run:
    """The job as it is now; what is known of it may be a moment old."""
    run = await runs.read(batch_id)
    for _ in range(20):
        if run.paused is paused or run.status in FINAL:
            break
        await runs.changed(batch_id, 0.2)
        run = await runs.read(batch_id)
    return run


@router.post("/{batch_id}/cancel", name="cancel_batch", dependencies=[CANCEL])
async def cancel_batch(request: Request, runs: RunsDep, batch_id: UUID) -> JobView:
    """Stop a batch and its unfinished jobs."""
    await _read(runs, batch_id)
    return views.job_view(request, await runs.cancel(batch_id))


@router.post("/{batch_id}/retry", status_code=202, name="retry_batch", dependencies=[SUBMIT])
async def retry_batch(
    request: Request, response: Response, runs: RunsDep, batch_id: UUID, key: KeyHeader = None
) -> JobView:
    """Do the rows again that did not succeed, as a new batch with all rows; those that did are kept."""
    run = await _read(runs, batch_id)
    return await retried(request, response, runs, run, key, is_incomplete=_is_incomplete(run))


def _is_incomplete(run: Run) -> bool:
    result: Any = run.result or {}
    return bool(result.get("failed") or result.get("canceled"))
