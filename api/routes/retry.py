"""Retry of a failed or canceled job, or of a batch in which rows failed."""

from fastapi import Request, Response

from api.errors import Problem
from api.http.headers import scoped_key
from api.jobs.model import Job, JobStore, SubmitOptions, wait_until_final
from api.jobs.submission_checks import check_models
from api.schemas import job_views
from api.schemas.job_views import JobView
from flows.registry import JOB_TYPES


async def submit_retry(
    request: Request,
    response: Response,
    jobs: JobStore,
    job: Job,
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
        ModelNotInstalled: a model of the job is still not installed.
    """
    if job.status not in {"failed", "canceled", "aborted"} and not is_incomplete:
        raise Problem(
            "not_retryable", f"The job is {job.status}; only failed or canceled jobs can be retried."
        )
    job_type = JOB_TYPES[job.type]
    options = SubmitOptions(
        key=scoped_key(key or str(job.id), f"retry {job.id}"),
        control=job.control,
        tags=job.tags,
        metadata=job.metadata,
        retry_of=job.id,
    )
    parameters = job_type.job.model_validate(job.parameters)
    await check_models(job_type, parameters)
    new_job = await jobs.create(job_type, parameters, options)
    if new_job.replayed:
        response.headers["Idempotent-Replayed"] = "true"
        new_job = await wait_until_final(jobs, new_job.id, 0, new_job)
    response.headers.update(job_views.polling_headers(new_job))
    return job_views.job_view(request, new_job)
