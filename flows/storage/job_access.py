"""
Media references and output locations of a job, and the check whether the job may use them.

One list of checks serves submissions, dry runs, the rows of a batch, and the start of every flow. Light
imports: the REST API uses this module.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from flows.schemas.base import JobParameters, Output
from flows.schemas.batch import BatchJob, RenderNewJob
from flows.schemas.job_types import MEDIA_JOB_TYPES
from flows.schemas.pipeline import PipelineJob, placeholder_id, resolve_step_references
from flows.schemas.video import LipSyncJob, PortraitJob
from musetalk_core.errors import InputError, RenderError
from tasks.catalog.output_locations import check_output_location
from tasks.file_names import output_name
from tasks.inputs.origins import check_reference
from tasks.refs import media_fields

JOB_SCHEME: Final = "job://"
"""URI scheme of another job's output."""
ASSET_SCHEME: Final = "asset://"
"""URI scheme of an uploaded asset."""
_PLACEHOLDER_NAME: Final = "result"
"""Output name to check if the real one depends on inputs that are not known yet."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A media reference of a job, and the field that holds it as a JSON pointer."""

    pointer: str
    uri: str


@dataclass(frozen=True, slots=True)
class AccessFault:
    """An input or output location that a job may not use, and the field that holds it as a JSON pointer."""

    pointer: str
    error: RenderError


def references(job: JobParameters) -> Iterator[Reference]:
    """
    Yield the media references of a job; for a pipeline those of its steps, without references to other steps.

    Args:
        job: of any type. Rows of a batch are excluded; they are jobs of their own.
    """
    step_ids = {placeholder_id(step.name) for step in job.steps} if isinstance(job, PipelineJob) else ()
    step_prefixes = tuple(f"{JOB_SCHEME}{one}" for one in step_ids)
    for part_job, pointer in _jobs_with_pointers(job):
        yield from (
            found for found in _references_in(part_job, pointer) if not found.uri.startswith(step_prefixes)
        )


def access_faults(job: JobParameters) -> Iterator[AccessFault]:
    """
    Yield the inputs and output locations that a job may not use. Sends no requests.

    Args:
        job: of any type. Rows of a batch are excluded; they are jobs of their own.
    """
    for part_job, pointer in _jobs_with_pointers(job):
        for field, output in _output_fields(part_job):
            yield from _run_check(f"{pointer}/{field}", _check_output, part_job, output)
    for reference in references(job):
        yield from _run_check(reference.pointer, check_reference, reference.uri)
    if isinstance(job, BatchJob | RenderNewJob):
        for field, pointer in (job.places or {}).items():
            yield from _run_check(f"#/places/{field}", check_reference, pointer)


def check_access(job: JobParameters) -> None:
    """
    Raise if a job refers to an input or output location that it may not use.

    Args:
        job: of any type.

    Raises:
        BucketNotAllowed, LocalPathDisabled, InputError: the first error found.
    """
    for fault in access_faults(job):
        raise fault.error


def _run_check(pointer: str, check: Callable[..., None], *values: Any) -> Iterator[AccessFault]:
    try:
        check(*values)
    except RenderError as error:
        yield AccessFault(pointer, error)


def _check_output(job: JobParameters, output: Output) -> None:
    name = output.name
    if name is not None and isinstance(job, LipSyncJob | PortraitJob):
        try:
            name = output_name("", "", name)
        except ValueError as error:
            raise InputError(str(error)) from error
    check_output_location(name or _PLACEHOLDER_NAME, output)


def _jobs_with_pointers(job: JobParameters) -> Iterator[tuple[JobParameters, str]]:
    """Yield the job, or the jobs of a pipeline's steps, each with its JSON pointer."""
    if not isinstance(job, PipelineJob):
        yield job, "#"
        return
    for number, step in enumerate(job.steps):
        schema = MEDIA_JOB_TYPES[step.type].job
        yield (
            schema.model_validate(resolve_step_references(step.job, placeholder_id)),
            f"#/steps/{number}/job",
        )


def _references_in(model: BaseModel, pointer: str) -> Iterator[Reference]:
    for name in type(model).model_fields:
        value: Any = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _references_in(value, f"{pointer}/{name}")
        elif isinstance(value, str) and name in media_fields(type(model)):
            yield Reference(f"{pointer}/{name}", value)


def _output_fields(job: JobParameters) -> Iterator[tuple[str, Output]]:
    """Yield the `output` fields of a job; for a batch also the default output of its rows."""
    for name in type(job).model_fields:
        value: Any = getattr(job, name)
        if isinstance(value, Output):
            yield name, value
    if isinstance(job, BatchJob | RenderNewJob) and "output" in job.defaults:
        try:
            yield "defaults/output", Output.model_validate(job.defaults["output"])
        except ValidationError:
            return  # reported for every row
