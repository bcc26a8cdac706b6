"""
Python client for other Prefect flows: start jobs with typed requests, wait for them, and get typed results.

A job started inside a flow appears in Prefect as a subflow of that flow.

    from flows.calling import run_job
    from flows.schemas import LipSyncJob

    result = run_job(LipSyncJob(video="s3://media/anna.mp4", audio="s3://media/hello.wav"))
    print(result.video.uri)

Requires this package in the flow's environment, and PREFECT_API_URL set to the server of the workers.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeVar, overload
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from pydantic import BaseModel

from flows.control import USUAL, Control, tags
from flows.outcome import NOTES, ended_as, error_of, result_of, status_of
from flows.output_uris import public_result
from flows.pipeline_schemas import PersonaSyncJob, PipelineJob, PipelineResult
from flows.registry import JOB_TYPES, JobType
from flows.schemas import (
    AnalyzeJob,
    AnalyzeResult,
    CaptionJob,
    CaptionResult,
    Job,
    LipSyncJob,
    PortraitJob,
    PrepareAvatarJob,
    PrepareAvatarResult,
    SpeechJob,
    SpeechResult,
    TranscribeJob,
    TranscribeResult,
    VideoResult,
)
from tasks.errors import PartFailed

R = TypeVar("R", bound=BaseModel)
_TYPES: Final = {job_type.job: job_type for job_type in JOB_TYPES.values()}


@overload
def run_job(job: LipSyncJob | PortraitJob, **options: Any) -> VideoResult: ...
@overload
def run_job(job: SpeechJob, **options: Any) -> SpeechResult: ...
@overload
def run_job(job: TranscribeJob, **options: Any) -> TranscribeResult: ...
@overload
def run_job(job: AnalyzeJob, **options: Any) -> AnalyzeResult: ...
@overload
def run_job(job: CaptionJob, **options: Any) -> CaptionResult: ...
@overload
def run_job(job: PrepareAvatarJob, **options: Any) -> PrepareAvatarResult: ...
@overload
def run_job(job: PipelineJob | PersonaSyncJob, **options: Any) -> PipelineResult: ...
def run_job(job: Job, **options: Any) -> BaseModel:
    """
    Run a job, wait for it and return its result.

    Args:
        job:     request; its class determines the job type.
        options: as of `start_job`.

    Returns:
        Result in the schema of the job type. File references in it are valid inputs of other jobs.

    Raises:
        PartFailed: the job failed, was stopped, or exceeded a time limit; `details` has its id and error
            code.
    """
    run = _started(job, None, options)
    return _result(_type_of(job), run)


def start_job(
    job: Job, *, control: Control = USUAL, idempotency_key: str | None = None, tags: Iterable[str] = ()
) -> UUID:
    """
    Start a job and return its id without waiting.

    Args:
        job:             request; its class determines the job type.
        control:         tenant, priority, time limits and webhook.
        idempotency_key: a second call with the same key returns the same job.
        tags:            additional tags of the flow run.

    Returns:
        Job id; `job://ID` refers to the job's output as an input of other jobs.
    """
    options = {"control": control, "idempotency_key": idempotency_key, "tags": tags}
    return _started(job, 0, options).id


def _type_of(job: Job) -> JobType:
    return _TYPES[type(job)]


def _started(job: Job, timeout: float | None, options: dict[str, Any]) -> FlowRun:
    control: Control = options.get("control") or USUAL
    parameters: dict[str, Any] = {"job": job.model_dump(mode="json", exclude_unset=True)}
    if wishes := control.model_dump(mode="json", exclude_defaults=True):
        parameters["control"] = wishes
    made: Any = run_deployment(
        _type_of(job).deployment,
        parameters=parameters,
        timeout=timeout,
        poll_interval=1,
        tags=[*tags(control), *options.get("tags", ())],
        idempotency_key=options.get("idempotency_key"),
        work_queue_name=control.priority,
    )
    return made


def _result(job_type: JobType, run: FlowRun) -> BaseModel:
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), key=ArtifactFilterKey(any_=list(NOTES))
    )
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run.id)
        found = sorted(client.read_artifacts(artifact_filter=wanted), key=lambda note: str(note.updated))
    notes = {str(note.key): note for note in found}
    status = status_of(run)
    result = result_of(status, notes)
    if result is None:
        error = error_of(status, ended_as(run), notes, run.state)
        code, said = (error.code, error.message) if error else (status, f"The job is {status}.")
        raise PartFailed(f"{job_type.name} job {run.id}: {said}", job=str(run.id), code=code)
    return job_type.result.model_validate(public_result(result, run.id))
