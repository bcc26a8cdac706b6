"""Check that the models for all steps of a pipeline are installed."""

from flows.job_types import WORK_TYPES
from flows.pipeline_schemas import PipelineJob, placeholder, resolved


def require_for_pipeline(job: PipelineJob) -> None:
    """
    Check that the models of every step are installed.

    Raises:
        ModelNotInstalled: a model is missing.
    """
    for step in job.steps:
        job_type = WORK_TYPES[step.type]
        job_type.require_models(job_type.job.model_validate(resolved(step.job, placeholder)))
