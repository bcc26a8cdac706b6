"""Dry run of a job: check its inputs and estimate its duration without queueing it."""

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
    """An input that was checked."""

    pointer: str = Field(description="JSON pointer to the field.", examples=["#/video"])
    name: str
    size: int | None = Field(description="Size in bytes; null if its server does not report it.")


class EstimateView(BaseModel):
    """The result of a dry run."""

    type: str
    valid: bool = True
    inputs: list[InputView]
    queue_position: int = Field(description="Position in the queue that the job would get.")
    run_s: views.EtaView | None = Field(
        description="Run time of finished jobs of this type; null if none has finished."
    )
    eta: views.EtaView | None = Field(description="Time until the job would finish, queueing included.")
    warnings: list[str]


async def estimated(runs: Runs, job_type: JobType, job: Job, terms: Terms) -> EstimateView:
    """
    Check a job's inputs and output location, and estimate its duration from the queue.

    Args:
        jobs:     the jobs that the caller may see.
        job_type: the job's type.
        job:      its parameters.
        options:  its submit options.

    Raises:
        Problem: `invalid_input` if the job has several errors, all of them listed in `errors`; the error's
            own code if there is one.
    """
    # first, because it counts towards the rate limit: no input is fetched for a caller over the limit
    outlook = await runs.outlook(job_type, terms.control)
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
    unknown = "No job of this type has finished yet, so its duration cannot be estimated."
    return EstimateView(
        type=job_type.name,
        inputs=[one for one in found if isinstance(one, InputView)],
        queue_position=outlook.waiting + 1,
        run_s=views.eta_view(outlook.took),
        eta=views.eta_view(outlook.eta),
        warnings=[] if outlook.took else [unknown],
    )


class _Refused(Exception):
    """An input that the job cannot use."""

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
    """Check an output of another job, which must have ended."""
    job, wanted = rest.partition("/")[0], job_file(rest)
    try:
        run = await runs.read(UUID(job))
    except (ValueError, Problem):
        raise _Refused(pointer, "input_not_found", f"{JOB}{job[:64]} does not exist.") from None
    if run.status not in FINAL:
        raise _Refused(pointer, "input_not_found", f"{JOB}{job} is still {run.status}.")
    for file in views.finished_files(run):
        if wanted in {"", file.name} or file.name.endswith(f".{wanted}"):
            return InputView(pointer=pointer, name=file.name, size=file.size)
    raise _Refused(pointer, "input_not_found", f"{JOB}{rest[:200]}: the job has no such file.")
