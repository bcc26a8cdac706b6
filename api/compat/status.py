"""Compatibility: job status in the words of the older services."""

from api.jobs.model import Job
from flows.prefect_state import status


def legacy_status(job: Job) -> str:
    """Return a job's status as named by the older services."""
    return status.legacy_status(job.status, job.ended_as, is_over_time_limit=job.error is not None)
