"""Checks, before a pipeline or batch is queued, that the models of its child jobs are installed."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from flows.batches.manifest import validate_rows
from flows.schemas.base import JobParameters
from flows.schemas.batch import BatchJob, RenderNewJob
from flows.schemas.job_types import MEDIA_JOB_TYPES
from flows.schemas.pipeline import PipelineJob, placeholder_id, resolve_step_references
from musetalk_core.errors import ModelNotInstalled

_PLACEHOLDER: Final = "s3://placeholder/file"
"""A reference for required media fields that only the rows set."""


def check_pipeline(job: PipelineJob) -> list[str]:
    """
    Return the warnings about substituted models of all steps.

    Raises:
        ModelNotInstalled: a model is missing; the message names the step.
    """
    warnings: list[str] = []
    for step in job.steps:
        job_type = MEDIA_JOB_TYPES[step.type]
        child = job_type.job.model_validate(resolve_step_references(step.job, placeholder_id))
        warnings += _check_child(step.type, child, f"Step {step.name}")
    return warnings


def check_batch(job: BatchJob | RenderNewJob) -> list[str]:
    """
    Return the warnings about substituted models of a batch.

    Rows of a manifest or of folders are read later, by the flow; of these only the defaults are checked.

    Raises:
        ModelNotInstalled: a model is missing; the message names the row.
    """
    warnings: list[str] = []
    rows = job.rows if isinstance(job, BatchJob) else None
    if rows is None:
        for child in _job_of_defaults(job.job_type, job.defaults):
            warnings += _check_child(job.job_type, child, "Each row")
    else:
        for row in validate_rows(rows, job.job_type, MEDIA_JOB_TYPES[job.job_type].job, job.defaults):
            if row.job is not None:
                warnings += _check_child(job.job_type, row.job, f"Row {row.number} ({row.id})")
    return list(dict.fromkeys(warnings))


def _check_child(job_type: str, child: JobParameters, name: str) -> list[str]:
    try:
        return MEDIA_JOB_TYPES[job_type].check_models(child)
    except ModelNotInstalled as error:
        raise ModelNotInstalled(f"{name}: {error}", **error.details) from error


def _job_of_defaults(job_type: str, defaults: Mapping[str, Any]) -> Iterator[JobParameters]:
    """Yield the job that the defaults describe, if they are valid without the fields of the rows."""
    schema = MEDIA_JOB_TYPES[job_type].job
    required = {name: _PLACEHOLDER for name, field in schema.model_fields.items() if field.is_required()}
    try:
        yield schema.model_validate(required | dict(defaults))
    except ValidationError:
        return
