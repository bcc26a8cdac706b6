"""Doing a job again that failed or was stopped, or that ended well but for some of its parts."""

from fastapi import Request, Response

from api import views
from api.idempotency import scoped
from api.problems import Problem
from api.runs import Run, Runs, Terms
from api.views import JobView
from flows.registry import JOB_TYPES


async def retried(
    request: Request,
    response: Response,
    runs: Runs,
    run: Run,
    key: str | None,
    *,
    is_incomplete: bool = False,
) -> JobView:
    """
    Queue a job again, as a new one. What was finished comes from the cache.

    Args:
        request:       of the caller.
        response:      gets its headers.
        runs:          as the caller may see them.
        run:           the job.
        key:           Idempotency-Key; without one, two requests for the same job give one new job.
        is_incomplete: it ended well, and something is left to do all the same.

    Raises:
        Problem: `not_retryable`.
    """
    if run.status not in {"failed", "canceled", "aborted"} and not is_incomplete:
        raise Problem(
            "not_retryable", f"The job is {run.status}: only one that failed or was stopped is done again."
        )
    job_type = JOB_TYPES[run.type]
    terms = Terms(
        key=scoped(key or str(run.id), f"retry {run.id}"),
        control=run.control,
        tags=run.tags,
        metadata=run.metadata,
        retry_of=run.id,
    )
    again = await runs.create(job_type, job_type.job.model_validate(run.job), terms)
    if again.replayed:
        response.headers["Idempotent-Replayed"] = "true"
        again = await runs.read(again.id)
    response.headers.update(views.polling_headers(again))
    return views.job_view(request, again)
