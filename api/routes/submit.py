"""Factory of the submit routes: one route per job type, so that each has its own schema."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from api.auth.api_keys import SUBMIT
from api.auth.rate_limits import rate_limit_headers
from api.dependencies import JobsDep
from api.http.headers import IdempotencyKeyHeader, Preference, PreferHeader, scoped_key
from api.jobs.model import Job, JobStore, wait_until_final
from api.jobs.submission_checks import check_models
from api.routes.dry_run import BatchEstimateView, EstimateView, estimate_batch, estimate_job
from api.schemas import job_views
from api.schemas.job_request import Submission, to_job_parameters, to_submit_options
from api.schemas.job_views import JobView
from flows.registry import JobType
from flows.schemas.batch import BatchJob
from tasks.settings import get_settings

CancelAfter = Annotated[
    str | None, Header(alias="Cancel-After", description="Deadline of the job from now: 90, 90s, 5m, 2h, 1d.")
]
DryRun = Annotated[bool, Query(description="Validate the job and estimate its duration; queue nothing.")]


async def _submit(
    request: Request,
    response: Response,
    jobs: JobStore,
    job_type: JobType,
    submission: Submission,
    headers: tuple[str | None, str | None, str | None],
    *,
    dry_run: bool,
) -> JobView | Response:
    """Submit a job and wait for it as long as the client prefers, or run a dry run."""
    key, cancel_after, prefer = headers
    job = to_job_parameters(job_type, submission)
    warnings = await check_models(job_type, job)
    options = to_submit_options(submission.control, scoped_key(key, job_type.name), cancel_after)
    if dry_run:
        estimate = (
            await estimate_batch(jobs, job, options)
            if isinstance(job, BatchJob)
            else await estimate_job(jobs, job_type, job, options)
        )
        estimate = estimate.model_copy(update={"warnings": [*estimate.warnings, *warnings]})
        return JSONResponse(estimate.model_dump(mode="json"))
    submitted_job = await jobs.create(job_type, job, options)
    response.headers.update(await rate_limit_headers(request))
    if submitted_job.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return await _submission_response(request, response, jobs, submitted_job, Preference.parse(prefer))


async def _submission_response(
    request: Request, response: Response, jobs: JobStore, job: Job, preferred: Preference
) -> JobView:
    wait_s = min(preferred.wait_s or 0, get_settings().api.max_wait_s)
    if job.replayed or wait_s:
        job = await wait_until_final(jobs, job.id, wait_s, job)
    is_final = job.status in job_views.FINAL_STATUSES
    response.status_code = 201 if is_final and not job.replayed and wait_s else 202
    response.headers.update(preferred.applied_headers(wait_s))
    response.headers.update(job_views.polling_headers(job))
    if is_final:
        del response.headers["Retry-After"]
    return job_views.job_view(request, job)


def add_submit_route(
    router: APIRouter, path: str, body: Any, select_type: Callable[[Any], JobType], name: str, summary: str
) -> None:
    """
    Add a POST route that submits jobs.

    Args:
        router:      router to add the route to.
        path:        path below the router's prefix.
        body:        type of the body: a subclass of `Submission`, or a union of several.
        select_type: returns the job type of a body.
        name:        name and operation id of the route.
        summary:     OpenAPI summary of the route.
    """

    async def submit(
        request: Request,
        response: Response,
        jobs: JobsDep,
        job: Submission,
        key: IdempotencyKeyHeader = None,
        cancel_after: CancelAfter = None,
        prefer: PreferHeader = None,
        dry_run: DryRun = False,
    ) -> JobView | Response:
        headers = (key, cancel_after, prefer)
        return await _submit(request, response, jobs, select_type(job), job, headers, dry_run=dry_run)

    submit.__annotations__["job"] = body
    router.add_api_route(
        path,
        submit,
        methods=["POST"],
        dependencies=[SUBMIT],
        status_code=202,
        response_model=JobView,
        responses={
            200: {
                "model": EstimateView | BatchEstimateView,
                "description": "Result of the dry run; nothing was queued.",
            },
            201: {"model": JobView, "description": "The job ended within the preferred wait."},
        },
        name=name,
        operation_id=name,
        summary=summary,
    )
