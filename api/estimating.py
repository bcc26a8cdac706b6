"""A dry run: everything that can be known of a job without queueing it."""

from asyncio import gather, to_thread
from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from api import views
from api.problems import Problem
from api.runs import FINAL, Runs, Terms
from api.submission_checks import Fault, location_faults, to_problem
from flows.job_access import JOB, references
from flows.registry import JobType
from flows.schemas import Job
from tasks.errors import RenderError
from tasks.refs import job_file
from tasks.sources import MediaKind, look

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
    Look at a job's inputs, at the place of its result and at the queue.

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
        *(_looked(runs, job_type, one.pointer, one.uri) for one in references(job)), return_exceptions=True
    )
    faults = await location_faults(job)
    told = {fault.pointer for fault in faults}
    for one in found:
        if isinstance(one, _Refused):
            faults += [one.fault] if one.fault.pointer not in told else []
        elif isinstance(one, BaseException):
            raise one
    if faults:
        raise to_problem(faults)
    unknown = "No job of this type has finished yet: there is nothing to guess from."
    return EstimateView(
        type=job_type.name,
        inputs=[one for one in found if isinstance(one, InputView)],
        queue_position=outlook.waiting + 1,
        run_s=views.eta_view(outlook.took),
        eta=views.eta_view(outlook.eta),
        warnings=[] if outlook.took else [unknown],
    )


class _Refused(Exception):
    """An input that the job could not have."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(pointer, code, detail)


async def _looked(runs: Runs, job_type: JobType, pointer: str, uri: str) -> InputView:
    if uri.startswith(JOB):
        return await _made_by(runs, pointer, uri.removeprefix(JOB))
    name = pointer.rsplit("/", 1)[-1]
    kind = _KINDS.get(name, "image" if job_type.name == "analyze" else "video")
    try:
        seen = await to_thread(look, uri, kind)
    except RenderError as error:
        raise _Refused(pointer, error.code, str(error)) from error
    return InputView(pointer=pointer, name=seen.name, size=seen.size)


async def _made_by(runs: Runs, pointer: str, rest: str) -> InputView:
    """Look at what another job makes; one that has not ended may yet make it."""
    job, wanted = rest.partition("/")[0], job_file(rest)
    try:
        run = await runs.read(UUID(job))
    except (ValueError, Problem):
        raise _Refused(pointer, "input_not_found", f"{JOB}{job[:64]} is not known.") from None
    if run.status not in FINAL:
        raise _Refused(pointer, "input_not_found", f"{JOB}{job} is still {run.status}.")
    for file in views.finished_files(run):
        if wanted in {"", file.name} or file.name.endswith(f".{wanted}"):
            return InputView(pointer=pointer, name=file.name, size=file.size)
    raise _Refused(pointer, "input_not_found", f"{JOB}{rest[:200]} has no such file.")
