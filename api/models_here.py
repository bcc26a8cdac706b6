"""Refuse a job at once for want of a model, where the API knows what its workers have."""

from asyncio import to_thread

from flows.registry import JobType
from flows.schemas import Job
from tasks.settings import get_settings


async def require_models(job_type: JobType, job: Job) -> None:
    """
    See that a job's model is installed. On several computers only a worker can tell: there the job fails.

    Raises:
        ModelNotInstalled: it is not.
    """
    if get_settings().api.models_here:
        await to_thread(job_type.require_models, job)
