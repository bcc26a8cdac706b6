"""Retry of a failed or canceled job, or of a batch in which rows failed."""

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
    Submit a job again as a new job. Results of completed steps come from the cache.

    Args:
        request:       the HTTP request.
        response:      the HTTP response, which gets headers.
        jobs:          the jobs that the caller may see.
        job:           the job to retry.
        key:           Idempotency-Key; without one, two requests for the same job create one new job.
        is_incomplete: the job succeeded but some of its child jobs did not.

    Raises:
        Problem: `not_retryable` unless the job is failed, canceled, aborted or incomplete.
    """
    if run.status not in {"failed", "canceled", "aborted"} and not is_incomplete:
        raise Problem(
            "not_retryable", f"The job is {run.status}; only failed or canceled jobs can be retried."
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
