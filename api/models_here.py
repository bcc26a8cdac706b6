"""Reject a job whose model is not installed, if the API shares the models folder with its workers."""

from asyncio import to_thread

from flows.registry import JobType
from flows.schemas import JobParameters
from tasks.settings import get_settings


async def require_models(job_type: JobType, job: JobParameters) -> None:
    """
    Check that a job's model is installed, if the setting `api.models_here` is on.

    With workers on other computers only the worker can check; the job then fails there.

    Raises:
        ModelNotInstalled: the model is not installed.
    """
    if get_settings().api.models_here:
        await to_thread(job_type.require_models, job)
