"""Compatibility: job status and error in the words of the older services."""

from typing import Any

from api.jobs.model import Job
from flows.prefect_state import status


def legacy_status(job: Job) -> str:
    """Return a job's status as named by the older services; what its client declared it to be comes first."""
    if job.mark is not None:
        return job.mark.status
    return status.legacy_status(job.status, job.ended_as, is_over_time_limit=job.error is not None)


def legacy_error(job: Job) -> dict[str, Any]:
    """Return the error fields of a job, the client's own message first; empty for a job without an error."""
    if job.mark is not None:
        return {"error": job.mark.message, "code": "canceled", "retryable": False}
    if job.error is None:
        return {}
    return {"error": job.error.message, "code": job.error.code, "retryable": job.error.retryable}
