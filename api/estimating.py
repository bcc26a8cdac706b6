"""A dry run: everything that can be known of a job without queueing it."""

from asyncio import gather, to_thread
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, get_args
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from api import views
from api.problems import Problem
from api.runs import FINAL, Runs, Terms
from flows.pipeline_schemas import PipelineJob, placeholder, resolved
from flows.registry import WORK_TYPES, JobType
from flows.schemas import Job
from tasks.errors import RenderError
from tasks.refs import checked_media_uri, job_file
from tasks.sources import MediaKind, look

_JOB: Final = "job://"
_KINDS: Final[dict[str, MediaKind]] = {"audio": "audio", "reference_audio": "audio", "captions": "text"}


class InputView(BaseModel):
    """An input that was looked at."""

    pointer: str = Field(description="Which field, as a JSON pointer.", examples=["#/video"])
    name: str
    size: int | None = Field(description="Bytes; null when its server does not say.")


class EstimateView(BaseModel):
    """What would become of the job, had it been queued."""

    type: str
    valid: bool = True
    inputs: list[InputView]
    queue_position: int = Field(description="The place it would have.")
    run_s: views.EtaView | None = Field(
        description="How long such jobs run, by those that finished; null when none has."
    )
    eta: views.EtaView | None = Field(description="When it would be done, the wait included.")
    warnings: list[str]


async def estimated(runs: Runs, job_type: JobType, job: Job, terms: Terms) -> EstimateView:
    """
    Look at a job's inputs and at the queue.

    Args:
        runs:     as the caller may see them.
        job_type: of the job.
        job:      what it is to do.
        terms:    how it is to be taken.

    Raises:
        Problem: `invalid_input` for a job with several faults, each of which is in `errors`; the fault's own
            code where there is one.
    """
    outlook = await runs.outlook(job_type, terms.control)  # counts, so before anything is asked of others
    found = await gather(
        *(_looked(runs, job_type, pointer, uri) for pointer, uri in _media(job)), return_exceptions=True
    )
    faults = [one for one in found if isinstance(one, BaseException)]
    for fault in faults:
        if not isinstance(fault, _Fault):
            raise fault
    if faults:
        raise _refusal([fault for fault in faults if isinstance(fault, _Fault)])
    unknown = "No job of this type has finished yet: there is nothing to guess from."
    return EstimateView(
        type=job_type.name,
        inputs=[one for one in found if isinstance(one, InputView)],
        queue_position=outlook.waiting + 1,
        run_s=views.eta_view(outlook.took),
        eta=views.eta_view(outlook.eta),
        warnings=[] if outlook.took else [unknown],
    )


class _Fault(Exception):
    """An input that the job could not have."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer, self.code, self.detail = pointer, code, detail


def _refusal(faults: list[_Fault]) -> Problem:
    errors = [{"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in faults]
    one = faults[0]
    code = one.code if len(faults) == 1 else "invalid_input"
    detail = one.detail if len(faults) == 1 else f"{len(faults)} inputs cannot be had."
    return Problem(code, detail, errors=errors)


async def _looked(runs: Runs, job_type: JobType, pointer: str, uri: str) -> InputView:
    if uri.startswith(_JOB):
        return await _made_by(runs, pointer, uri.removeprefix(_JOB))
    name = pointer.rsplit("/", 1)[-1]
    kind = _KINDS.get(name, "image" if job_type.name == "analyze" else "video")
    try:
        seen = await to_thread(look, uri, kind)
    except RenderError as error:
        raise _Fault(pointer, error.code, str(error)) from error
    return InputView(pointer=pointer, name=seen.name, size=seen.size)


async def _made_by(runs: Runs, pointer: str, rest: str) -> InputView:
    """Look at what another job makes; one that has not ended may yet make it."""
    job, wanted = rest.partition("/")[0], job_file(rest)
    try:
        run = await runs.read(UUID(job))
    except (ValueError, Problem):
        raise _Fault(pointer, "input_not_found", f"{_JOB}{job[:64]} is not known.") from None
    if run.status not in FINAL:
        raise _Fault(pointer, "input_not_found", f"{_JOB}{job} is still {run.status}.")
    for file in views.finished_files(run):
        if wanted in {"", file.name} or file.name.endswith(f".{wanted}"):
            return InputView(pointer=pointer, name=file.name, size=file.size)
    raise _Fault(pointer, "input_not_found", f"{_JOB}{rest[:200]} has no such file.")


def _media(job: Job) -> Iterator[tuple[str, str]]:
    """Yield the media references of a job with their places in it; what its own steps make comes later."""
    if not isinstance(job, PipelineJob):
        yield from _media_of(job, "#")
        return
    later = {f"{_JOB}{placeholder(step.name)}" for step in job.steps}
    for number, step in enumerate(job.steps):
        made = WORK_TYPES[step.type].job.model_validate(resolved(step.job, placeholder))
        for place, uri in _media_of(made, f"#/steps/{number}/job"):
            if uri[: len(_JOB) + 36] not in later:
                yield place, uri


def _media_of(part: BaseModel, place: str) -> Iterator[tuple[str, str]]:
    for name in type(part).model_fields:
        value: Any = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _media_of(value, f"{place}/{name}")
        elif isinstance(value, str) and name in _media_fields(type(part)):
            yield f"{place}/{name}", value


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
