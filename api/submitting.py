"""Factory of the submit routes: one route per job type, so that each has its own schema."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from api import views
from api.doors import RunsDep
from api.estimating import EstimateView, estimated
from api.estimating_chains import BatchEstimateView, estimated_batch
from api.gate import gate_headers
from api.idempotency import KeyHeader, scoped
from api.keys import SUBMIT
from api.models_here import require_models
from api.prefer import Preference, PreferHeader
from api.runs import Run, Runs, wait_until_final
from api.submission import Submission, job_of, terms_of
from api.views import JobView
from flows.batch_schemas import BatchJob
from flows.registry import JobType
from tasks.settings import get_settings

CancelAfter = Annotated[
    str | None, Header(alias="Cancel-After", description="Deadline of the job from now: 90, 90s, 5m, 2h, 1d.")
]
DryRun = Annotated[bool, Query(description="Validate the job and estimate its duration; queue nothing.")]


async def _submitted(
    request: Request,
    response: Response,
    runs: Runs,
    job_type: JobType,
    asked: Submission,
    headers: tuple[str | None, str | None, str | None],
    *,
    dry_run: bool,
) -> JobView | Response:
    """Submit a job and wait for it as long as the client prefers, or run a dry run."""
    key, cancel_after, prefer = headers
    job = job_of(job_type, asked)
    await require_models(job_type, job)
    terms = terms_of(asked.control, scoped(key, job_type.name), cancel_after)
    if dry_run:
        estimate = (
            await estimated_batch(runs, job, terms)
            if isinstance(job, BatchJob)
            else await estimated(runs, job_type, job, terms)
        )
        return JSONResponse(estimate.model_dump(mode="json"))
    run = await runs.create(job_type, job, terms)
    response.headers.update(gate_headers(request))
    if run.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return await _answer(request, response, runs, run, Preference.read(prefer))


async def _answer(
    request: Request, response: Response, runs: Runs, run: Run, preferred: Preference
) -> JobView:
    wait_s = min(preferred.wait_s or 0, get_settings().api.max_wait_s)
    if run.replayed or wait_s:
        run = await wait_until_final(runs, run.id, wait_s)
    finished = run.status in views.FINAL
    response.status_code = 201 if finished and not run.replayed and wait_s else 202
    response.headers.update(preferred.applied(wait_s))
    response.headers.update(views.polling_headers(run))
    if finished:
        del response.headers["Retry-After"]
    return views.job_view(request, run)


def add_submit_route(
    router: APIRouter, path: str, body: Any, choose: Callable[[Any], JobType], name: str, summary: str
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
        runs: RunsDep,
        job: Submission,
        key: KeyHeader = None,
        cancel_after: CancelAfter = None,
        prefer: PreferHeader = None,
        dry_run: DryRun = False,
    ) -> JobView | Response:
        headers = (key, cancel_after, prefer)
        return await _submitted(request, response, runs, choose(job), job, headers, dry_run=dry_run)

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
