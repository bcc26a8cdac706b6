"""
What a job names of the outside: its inputs and where its result goes. Light: the REST shim imports it.

The same checks are made when a job is submitted, by a dry run, of every row of a batch, and when a job
starts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, get_args

from pydantic import AfterValidator, BaseModel, ValidationError

from flows.batch_schemas import BatchJob, RenderNewJob
from flows.job import Job, Output
from flows.job_types import WORK_TYPES
from flows.pipeline_schemas import PipelineJob, placeholder, resolved
from flows.schemas import LipSyncJob, PortraitJob
from musetalk_core.errors import InputError, RenderError
from tasks.file_names import output_name
from tasks.places import check_place
from tasks.refs import checked_media_uri
from tasks.sources import check_reference

JOB: Final = "job://"
ASSET: Final = "asset://"
_PLACEHOLDER: Final = "result"
"""Name of a result that is named after inputs which nobody has looked at yet."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A media reference of a job, and the field that holds it as a JSON pointer."""

    pointer: str
    uri: str


@dataclass(frozen=True, slots=True)
class PlaceFault:
    """A place that a job may not use, and the field that names it as a JSON pointer."""

    pointer: str
    error: RenderError


def references(job: Job) -> Iterator[Reference]:
    """
    Yield the media references of a job; of a pipeline those of its steps but for what other steps make.

    Args:
        job: of any type. Rows of a batch are jobs of their own and left out.
    """
    later = {placeholder(step.name) for step in job.steps} if isinstance(job, PipelineJob) else ()
    made = tuple(f"{JOB}{one}" for one in later)
    for part, place in _parts(job):
        yield from (found for found in _references(part, place) if not found.uri.startswith(made))


def place_faults(job: Job) -> Iterator[PlaceFault]:
    """
    Yield the inputs and output places that a job names and may not use; nothing is sent.

    Args:
        job: of any type. Rows of a batch are jobs of their own and left out.
    """
    for part, place in _parts(job):
        for field, output in _outputs(part):
            yield from _fault(f"{place}/{field}", _check_output, part, output)
    for reference in references(job):
        yield from _fault(reference.pointer, check_reference, reference.uri)
    if isinstance(job, BatchJob | RenderNewJob):
        for field, place in (job.places or {}).items():
            yield from _fault(f"#/places/{field}", check_reference, place)


def check_places(job: Job) -> None:
    """
    Refuse a job that names an input or an output place that it may not use.

    Args:
        job: of any type.

    Raises:
        BucketNotAllowed, LocalPathDisabled, InputError: the first fault.
    """
    for fault in place_faults(job):
        raise fault.error


def _fault(pointer: str, check: Callable[..., None], *values: Any) -> Iterator[PlaceFault]:
    try:
        check(*values)
    except RenderError as error:
        yield PlaceFault(pointer, error)


def _check_output(job: Job, output: Output) -> None:
    name = output.name
    if name is not None and isinstance(job, LipSyncJob | PortraitJob):
        try:
            name = output_name("", "", name)
        except ValueError as error:
            raise InputError(str(error)) from error
    check_place(name or _PLACEHOLDER, output)


def _parts(job: Job) -> Iterator[tuple[Job, str]]:
    """Yield a job, or the jobs of a pipeline's steps, with their places in it."""
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
        elif isinstance(value, str) and name in _media_fields(type(part)):
            yield Reference(f"{place}/{name}", value)


def _outputs(job: Job) -> Iterator[tuple[str, Output]]:
    """Yield the outputs of a job; of a batch also the one that all its rows begin with."""
    for name in type(job).model_fields:
        value: Any = getattr(job, name)
        if isinstance(value, Output):
            yield name, value
    if isinstance(job, BatchJob | RenderNewJob) and "output" in job.defaults:
        try:
            yield "defaults/output", Output.model_validate(job.defaults["output"])
        except ValidationError:
            return  # every row will say so


@lru_cache
def _media_fields(model: type[BaseModel]) -> frozenset[str]:
    """Name the fields that a schema types as media references: a text may look like one and be none."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if any(_is_check(one) for one in (*field.metadata, *_metadata(field.annotation)))
    )


def _metadata(annotation: Any) -> Iterator[Any]:
    for part in get_args(annotation):
        yield part
        yield from _metadata(part)


def _is_check(one: Any) -> bool:
    return isinstance(one, AfterValidator) and one.func is checked_media_uri
