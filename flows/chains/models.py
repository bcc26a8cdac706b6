"""Check that the models for all steps of a pipeline are installed."""

from flows.job_types import MEDIA_JOB_TYPES
from flows.pipeline_schemas import PipelineJob, placeholder_id, resolve_step_references


def require_pipeline_models(job: PipelineJob) -> None:
    """
    Check that the models of every step are installed.

    Raises:
        ModelNotInstalled: a model is missing.
    """
    for step in job.steps:
        job_type = MEDIA_JOB_TYPES[step.type]
        job_type.require_models(
            job_type.job.model_validate(resolve_step_references(step.job, placeholder_id))
        )
