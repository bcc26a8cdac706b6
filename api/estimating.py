"""Dry run of a job: check its inputs and estimate its duration without queueing it."""

from asyncio import gather, to_thread
from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from api import views
from api.problems import Problem
from api.runs import FINAL_STATUSES, JobStore, SubmitOptions
from api.submission_checks import LocationFault, location_faults, to_problem
from flows.job_access import JOB_SCHEME, references
from flows.registry import JobType
from flows.schemas import JobParameters
from tasks.errors import RenderError
from tasks.refs import job_file_name
from tasks.sources import MediaKind, probe_input

_MEDIA_KINDS: Final[dict[str, MediaKind]] = {"audio": "audio", "reference_audio": "audio", "captions": "text"}


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


async def estimate_job(
    jobs: JobStore, job_type: JobType, job: JobParameters, options: SubmitOptions
) -> EstimateView:
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
    queue_estimate = await jobs.estimate(job_type, options.control)
    inspections = await gather(
        *(_inspect_input(jobs, job_type, one.pointer, one.uri) for one in references(job)),
        return_exceptions=True,
    )
    faults = await location_faults(job)
    reported_pointers = {fault.pointer for fault in faults}
    for one in inspections:
        if isinstance(one, _UnusableInput):
            faults += [one.fault] if one.fault.pointer not in reported_pointers else []
        elif isinstance(one, BaseException):
            raise one
    if faults:
        raise to_problem(faults)
    no_history_warning = "No job of this type has finished yet, so its duration cannot be estimated."
    return EstimateView(
        type=job_type.name,
        inputs=[one for one in inspections if isinstance(one, InputView)],
        queue_position=queue_estimate.jobs_ahead + 1,
        run_s=views.eta_view(queue_estimate.durations),
        eta=views.eta_view(queue_estimate.eta),
        warnings=[] if queue_estimate.durations else [no_history_warning],
    )


class _UnusableInput(Exception):
    """An input that the job cannot use."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = LocationFault(pointer, code, detail)


async def _inspect_input(jobs: JobStore, job_type: JobType, pointer: str, uri: str) -> InputView:
    if uri.startswith(JOB_SCHEME):
        return await _inspect_job_output(jobs, pointer, uri.removeprefix(JOB_SCHEME))
    name = pointer.rsplit("/", 1)[-1]
    kind = _MEDIA_KINDS.get(name, "image" if job_type.name == "analyze" else "video")
    try:
        info = await to_thread(probe_input, uri, kind)
    except RenderError as error:
        raise _UnusableInput(pointer, error.code, str(error)) from error
    return InputView(pointer=pointer, name=info.name, size=info.size)


async def _inspect_job_output(jobs: JobStore, pointer: str, job_path: str) -> InputView:
    """Check an output of another job, which must have ended."""
    job_id, requested_file = job_path.partition("/")[0], job_file_name(job_path)
    try:
        job = await jobs.read(UUID(job_id))
    except (ValueError, Problem):
        raise _UnusableInput(
            pointer, "input_not_found", f"{JOB_SCHEME}{job_id[:64]} does not exist."
        ) from None
    if job.status not in FINAL_STATUSES:
        raise _UnusableInput(pointer, "input_not_found", f"{JOB_SCHEME}{job_id} is still {job.status}.")
    for file in views.output_files(job):
        if requested_file in {"", file.name} or file.name.endswith(f".{requested_file}"):
            return InputView(pointer=pointer, name=file.name, size=file.size)
    raise _UnusableInput(
        pointer, "input_not_found", f"{JOB_SCHEME}{job_path[:200]}: the job has no such file."
    )
