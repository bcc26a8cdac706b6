"""Whether the models of this computer can do all that a chain of jobs asks for."""

from flows.job_types import WORK_TYPES
from flows.pipeline_schemas import PipelineJob, placeholder, resolved


def require_for_pipeline(job: PipelineJob) -> None:
    """
    See that every step's model is installed.

    Raises:
        ModelNotInstalled: one is not.
    """
    for step in job.steps:
        job_type = WORK_TYPES[step.type]
        job_type.require_models(job_type.job.model_validate(resolved(step.job, placeholder)))
