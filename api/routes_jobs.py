"""Routes for jobs: submit (one route per job type), list, read, cancel, retry and download."""

from asyncio import to_thread
from functools import reduce
from operator import or_
from time import monotonic
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from api import files, views
from api.doors import RunsDep
from api.idempotency import KeyHeader
from api.keys import CANCEL, READ, SUBMIT
from api.listing import ListQuery
from api.prefer import Preference, PreferHeader
from api.problems import Problem
from api.retrying import retried
from api.runs import Run, Runs
from api.submission import request_model
from api.submitting import add_submit_route
from api.views import JobPage, JobView
from flows.registry import JOB_TYPES
from tasks.settings import get_settings

_BYTES: Any = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_FILE: Any = {
    200: {"description": "The file.", **_BYTES},
    206: {"description": "The range requested by `Range`.", **_BYTES},
    307: {"description": "Redirect to the object store with a link that is valid for one hour."},
    410: {"description": "`result_replaced`: another object replaced it; `expired`: it was deleted."},
    416: {"description": "The range is not satisfiable.", **_BYTES},
}

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

for _type in JOB_TYPES.values():
    add_submit_route(
        router,
        f"/{_type.name}",
        request_model(_type),
        lambda _, job_type=_type: job_type,
        f"submit_{_type.name}",
        (_type.job.__doc__ or _type.name).strip().rstrip("."),
    )

_any_type: Any = reduce(or_, [request_model(job_type, named=True) for job_type in JOB_TYPES.values()])
add_submit_route(
    router,
    "",
    Annotated[_any_type, Field(discriminator="type")],
    lambda job: JOB_TYPES[job.type],
    "submit_job",
    "Queue a job of any type",
)


@router.get("", name="list_jobs", dependencies=[READ])
async def list_jobs(
    request: Request, response: Response, runs: RunsDep, query: Annotated[ListQuery, Query()]
) -> JobPage:
    """List jobs, newest first."""
    page = await runs.find(query.wanted())
    if page.next:
        onwards = request.url.include_query_params(cursor=page.next)
        response.headers["Link"] = f'<{onwards}>; rel="next"'
    return JobPage(jobs=[views.job_view(request, run) for run in page.runs], next_cursor=page.next)


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses={304: {"description": "The job has not changed."}},
    dependencies=[READ],
)
async def read_job(
    request: Request,
    response: Response,
    runs: RunsDep,
    job_id: UUID,
    prefer: PreferHeader = None,
    known: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> JobView | Response:
    """
    Return a job and its status.

    With `Prefer: wait=SECONDS` the response is delayed until the job differs from the version in
    `If-None-Match`, or from its current version if that header is missing (long polling).
    """
    preferred = Preference.read(prefer)
    wait_s = min(preferred.wait_s or 0, get_settings().api.max_wait_s)
    run = await runs.read(job_id)
    view = views.job_view(request, run)
    if wait_s:
        run, view = await _when_changed(request, runs, run, known or views.etag(view), wait_s)
    headers = {"ETag": views.etag(view), **preferred.applied(wait_s)}
    if run.status not in views.FINAL:
        headers["Retry-After"] = views.RETRY_AFTER_S
    if views.is_known(known, view):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return view


async def _when_changed(
    request: Request, runs: Runs, run: Run, known: str, wait_s: float
) -> tuple[Run, JobView]:
    deadline = monotonic() + wait_s
    view = views.job_view(request, run)
    while run.status not in views.FINAL and views.is_known(known, view):
        left = deadline - monotonic()
        if left <= 0:
            break
        await runs.changed(run.id, left)
        run = await runs.read(run.id)
        view = views.job_view(request, run)
    return run, view


@router.post("/{job_id}/cancel", dependencies=[CANCEL])
@router.delete("/{job_id}", operation_id="delete_job", name="delete_job", dependencies=[CANCEL])
async def cancel_job(request: Request, runs: RunsDep, job_id: UUID) -> JobView:
    """Request cancellation of a job; an ended job is unchanged."""
    return views.job_view(request, await runs.cancel(job_id))


@router.post("/{job_id}/retry", status_code=202, dependencies=[SUBMIT])
async def retry_job(
    request: Request, response: Response, runs: RunsDep, job_id: UUID, key: KeyHeader = None
) -> JobView:
    """
    Retry a failed or canceled job as a new job. Results of completed steps come from the cache.

    Two requests for the same job create one new job, unless they have different idempotency keys.
    """
    return await retried(request, response, runs, await runs.read(job_id), key)


@router.head(
    "/{job_id}/files/{name}",
    include_in_schema=False,
    response_model=None,
    name="head_file",
    dependencies=[READ],
)
@router.get(
    "/{job_id}/files/{name}",
    response_model=None,
    response_class=Response,
    responses=_FILE,
    dependencies=[READ],
)
async def read_file(runs: RunsDep, job_id: UUID, name: str) -> Response:
    """Download an output file of a job; supports Range requests."""
    run = await runs.read(job_id)
    for file in views.finished_files(run):
        if file.name == name:
            return await to_thread(files.answer_with, file)
    raise not_finished(run.status)


@router.head(
    "/{job_id}/result", include_in_schema=False, response_model=None, name="head_result", dependencies=[READ]
)
@router.get(
    "/{job_id}/result", response_model=None, response_class=Response, status_code=307, dependencies=[READ]
)
async def read_result_file(runs: RunsDep, job_id: UUID) -> Response:
    """Redirect to the main output file of a job."""
    run = await runs.read(job_id)
    file = views.finished_file(run)
    if file is None:
        raise not_finished(run.status)
    await to_thread(files.require_not_replaced, file)
    own = f"/v1/jobs/{run.id}/files/{quote(file.name, safe='')}"
    return Response(status_code=307, headers={"Location": own})


def not_finished(status: str) -> Problem:
    """Return the problem for a missing output file: `not_ready` or `not_found`."""
    if status in {"queued", "scheduled", "running"}:
        return Problem(
            "not_ready", f"The job is still {status}.", headers={"Retry-After": views.RETRY_AFTER_S}
        )
    return Problem("not_found", "The job has no such output file.")
