"""
Media references and output locations of a job, and the check whether the job may use them.

One list of checks serves submissions, dry runs, the rows of a batch, and the start of every flow. Light
imports: the REST API uses this module.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from flows.batch_schemas import BatchJob, RenderNewJob
from flows.job import Job, Output
from flows.job_types import WORK_TYPES
from flows.pipeline_schemas import PipelineJob, placeholder, resolved
from flows.schemas import LipSyncJob, PortraitJob
from musetalk_core.errors import InputError, RenderError
from tasks.file_names import output_name
from tasks.output_locations import check_output_location
from tasks.refs import media_fields
from tasks.sources import check_reference

JOB: Final = "job://"
"""URI scheme of another job's output."""
ASSET: Final = "asset://"
"""URI scheme of an uploaded asset."""
_PLACEHOLDER: Final = "result"
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


def references(job: Job) -> Iterator[Reference]:
    """
    Yield the media references of a job; for a pipeline those of its steps, without references to other steps.

    Args:
        job: of any type. Rows of a batch are excluded; they are jobs of their own.
    """
    later = {placeholder(step.name) for step in job.steps} if isinstance(job, PipelineJob) else ()
    made = tuple(f"{JOB}{one}" for one in later)
    for part, place in _jobs_in(job):
        yield from (found for found in _references(part, place) if not found.uri.startswith(made))


def access_faults(job: Job) -> Iterator[AccessFault]:
    """
    Yield the inputs and output locations that a job may not use. Sends no requests.

    Args:
        job: of any type. Rows of a batch are excluded; they are jobs of their own.
    """
    for part, place in _jobs_in(job):
        for field, output in _outputs(part):
            yield from _faults_of(f"{place}/{field}", _check_output, part, output)
    for reference in references(job):
        yield from _faults_of(reference.pointer, check_reference, reference.uri)
    if isinstance(job, BatchJob | RenderNewJob):
        for field, place in (job.places or {}).items():
            yield from _faults_of(f"#/places/{field}", check_reference, place)


def check_access(job: Job) -> None:
    """
    Raise if a job refers to an input or output location that it may not use.

    Args:
        job: of any type.

    Raises:
        BucketNotAllowed, LocalPathDisabled, InputError: the first error found.
    """
    for fault in access_faults(job):
        raise fault.error


def _faults_of(pointer: str, check: Callable[..., None], *values: Any) -> Iterator[AccessFault]:
    try:
        check(*values)
    except RenderError as error:
        yield AccessFault(pointer, error)


def _check_output(job: Job, output: Output) -> None:
    name = output.name
    if name is not None and isinstance(job, LipSyncJob | PortraitJob):
        try:
            name = output_name("", "", name)
        except ValueError as error:
            raise InputError(str(error)) from error
    check_output_location(name or _PLACEHOLDER, output)


def _jobs_in(job: Job) -> Iterator[tuple[Job, str]]:
    """Yield the job, or the jobs of a pipeline's steps, each with its JSON pointer."""
    if not isinstance(job, PipelineJob):
        yield job, "#"
        return
    for number, step in enumerate(job.steps):
        schema = WORK_TYPES[step.type].job
        yield schema.model_validate(resolved(step.job, placeholder)), f"#/steps/{number}/job"


def _references(part: BaseModel, place: str) -> Iterator[Reference]:
    for name in type(part).model_fields:
        value: Any = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _references(value, f"{place}/{name}")
        elif isinstance(value, str) and name in media_fields(type(part)):
            yield Reference(f"{place}/{name}", value)


def _outputs(job: Job) -> Iterator[tuple[str, Output]]:
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
