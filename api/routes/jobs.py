"""Routes for jobs: submit (one route per job type), list, read, cancel, retry and download."""

from difflib import get_close_matches
from functools import reduce
from operator import or_
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from api.auth.api_keys import CANCEL, READ, SUBMIT
from api.dependencies import JobsDep
from api.errors import Problem
from api.http.headers import IdempotencyKeyHeader, Preference, PreferHeader
from api.jobs import downloads
from api.jobs.model import Job, JobStore
from api.jobs.outputs import main_output_file, output_files
from api.routes.file_responses import FILE_RESPONSES, missing_file_problem
from api.routes.retry import submit_retry
from api.routes.submit import add_submit_route
from api.schemas import job_views
from api.schemas.job_query import ListQuery
from api.schemas.job_request import request_model
from api.schemas.job_views import JobPage, JobView
from flows.registry import JOB_TYPES
from tasks.settings import get_settings

_REDIRECT: Any = {
    307: {"description": "With `MUSETALK_API__DOWNLOAD_REDIRECTS`: a link that is valid for one hour."}
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


@router.post("/{job_type}", include_in_schema=False, dependencies=[SUBMIT])
async def submit_unknown_type(job_type: str) -> None:
    """Refuse a job of an unknown type with the names that exist."""
    similar = get_close_matches(job_type.lower(), JOB_TYPES, n=1)
    hint = f" Did you mean {similar[0]}?" if similar else ""
    raise Problem(
        "not_found", f"There is no job type {job_type[:80]}.{hint} There are {', '.join(JOB_TYPES)}."
    )


@router.get("", name="list_jobs", dependencies=[READ])
async def list_jobs(
    request: Request, response: Response, jobs: JobsDep, query: Annotated[ListQuery, Query()]
) -> JobPage:
    """List jobs: those that are due later first, then the newest."""
    page = await jobs.find(query.to_filter())
    if page.next:
        next_url = request.url_for("list_jobs").replace(query=request.url.query)
        next_url = next_url.include_query_params(cursor=page.next)
        response.headers["Link"] = f'<{next_url}>; rel="next"'
    return JobPage(jobs=[job_views.job_view(request, run) for run in page.jobs], next_cursor=page.next)


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses={304: {"description": "The job has not changed."}},
    dependencies=[READ],
)
async def read_job(
    request: Request,
    response: Response,
    jobs: JobsDep,
    job_id: UUID,
    prefer: PreferHeader = None,
    known: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> JobView | Response:
    """
    Return a job and its status.

    With `Prefer: wait=SECONDS` the response is delayed until the job differs from the version in
    `If-None-Match`, or from its current version if that header is missing (long polling).
    """
    preferred = Preference.parse(prefer)
    wait_s = min(preferred.wait_s or 0, get_settings().api.max_wait_s)
    job = await jobs.read(job_id)
    view = job_views.job_view(request, job)
    if wait_s:
        job, view = await _wait_until_changed(request, jobs, job, known or job_views.etag(view), wait_s)
    headers = {"ETag": job_views.etag(view), **preferred.applied_headers(wait_s)}
    if job.status not in job_views.FINAL_STATUSES:
        headers["Retry-After"] = job_views.RETRY_AFTER_S
    if job_views.matches_etag(known, view):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return view


async def _wait_until_changed(
    request: Request, jobs: JobStore, job: Job, known_etag: str, wait_s: float
) -> tuple[Job, JobView]:
    deadline = monotonic() + wait_s
    view = job_views.job_view(request, job)
    while job.status not in job_views.FINAL_STATUSES and job_views.matches_etag(known_etag, view):
        remaining_s = deadline - monotonic()
        if remaining_s <= 0:
            break
        await jobs.wait_for_change(job.id, remaining_s)
        job = await jobs.read(job.id)
        view = job_views.job_view(request, job)
    return job, view


@router.post("/{job_id}/cancel", dependencies=[CANCEL])
@router.delete("/{job_id}", operation_id="delete_job", name="delete_job", dependencies=[CANCEL])
async def cancel_job(request: Request, jobs: JobsDep, job_id: UUID) -> JobView:
    """Request cancellation of a job; an ended job is unchanged."""
    return job_views.job_view(request, await jobs.cancel(job_id))


@router.post("/{job_id}/retry", status_code=202, dependencies=[SUBMIT])
async def retry_job(
    request: Request, response: Response, jobs: JobsDep, job_id: UUID, key: IdempotencyKeyHeader = None
) -> JobView:
    """
    Retry a failed or canceled job as a new job. Results of completed steps come from the cache.

    Two requests for the same job create one new job, unless they have different idempotency keys.
    """
    return await submit_retry(request, response, jobs, await jobs.read(job_id), key)


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
    responses=FILE_RESPONSES | _REDIRECT,
    dependencies=[READ],
)
async def read_file(request: Request, jobs: JobsDep, job_id: UUID, name: str) -> Response:
    """Download an output file of a job; supports Range requests."""
    job = await jobs.read(job_id)
    for file in output_files(job):
        if file.name == name:
            return await downloads.file_response(request, file)
    raise missing_file_problem(job.status)


@router.head(
    "/{job_id}/result", include_in_schema=False, response_model=None, name="head_result", dependencies=[READ]
)
@router.get(
    "/{job_id}/result",
    response_model=None,
    response_class=Response,
    responses=FILE_RESPONSES | _REDIRECT,
    dependencies=[READ],
)
async def read_result_file(request: Request, jobs: JobsDep, job_id: UUID) -> Response:
    """Download the main output file of a job; supports Range requests."""
    job = await jobs.read(job_id)
    file = main_output_file(job)
    if file is None:
        raise missing_file_problem(job.status)
    return await downloads.file_response(request, file)
