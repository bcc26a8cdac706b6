"""
Python client for other Prefect flows: start jobs with typed requests, wait for them, and get typed results.

A job started inside a flow appears in Prefect as a subflow of that flow.

    from flows.client import run_job
    from flows.schemas.video import LipSyncJob

    result = run_job(LipSyncJob(video="s3://media/anna.mp4", audio="s3://media/hello.wav"))
    print(result.video.uri)

Requires this package in the flow's environment, and PREFECT_API_URL set to the server of the workers.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeVar, overload
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from pydantic import BaseModel

from flows.prefect_state.artifacts import read_latest_artifacts
from flows.prefect_state.run_names import job_run_name
from flows.prefect_state.status import RESULT_KEYS, ended_as, error_of, result_of, status_of
from flows.registry import JOB_TYPES, JobType
from flows.schemas.analyze import AnalyzeJob, AnalyzeResult
from flows.schemas.base import JobParameters
from flows.schemas.caption import CaptionJob, CaptionResult
from flows.schemas.control import DEFAULT_CONTROL, Control, tags_for
from flows.schemas.pipeline import PersonaSyncJob, PipelineJob, PipelineResult
from flows.schemas.speech import SpeechJob, SpeechResult
from flows.schemas.transcribe import TranscribeJob, TranscribeResult
from flows.schemas.video import LipSyncJob, PortraitJob, PrepareAvatarJob, PrepareAvatarResult, VideoResult
from flows.storage.output_uris import public_result
from tasks.errors import PartFailed

R = TypeVar("R", bound=BaseModel)
_JOB_TYPE_BY_SCHEMA: Final = {job_type.job: job_type for job_type in JOB_TYPES.values()}


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
def run_job(job: JobParameters, **options: Any) -> BaseModel:
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
    run = _create_run(job, None, options)
    return _read_result(_type_of(job), run)


def start_job(
    job: JobParameters,
    *,
    control: Control = DEFAULT_CONTROL,
    idempotency_key: str | None = None,
    tags: Iterable[str] = (),
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
    return _create_run(job, 0, options).id


def _type_of(job: JobParameters) -> JobType:
    return _JOB_TYPE_BY_SCHEMA[type(job)]


def _create_run(job: JobParameters, timeout: float | None, options: dict[str, Any]) -> FlowRun:
    control: Control = options.get("control") or DEFAULT_CONTROL
    parameters: dict[str, Any] = {"job": job.model_dump(mode="json", exclude_unset=True)}
    if control_json := control.model_dump(mode="json", exclude_defaults=True):
        parameters["control"] = control_json
    job_type = _type_of(job)
    run: Any = run_deployment(
        job_type.deployment,
        parameters=parameters,
        flow_run_name=job_run_name(job_type.name, job_type.job, parameters["job"], uuid4().hex),
        timeout=timeout,
        poll_interval=1,
        tags=[*tags_for(control), *options.get("tags", ())],
        idempotency_key=options.get("idempotency_key"),
        work_queue_name=control.priority,
    )
    return run


def _read_result(job_type: JobType, run: FlowRun) -> BaseModel:
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run.id)
        artifact_by_key = read_latest_artifacts(client, [run.id], RESULT_KEYS, limit_s=0).get(run.id, {})
    status = status_of(run)
    result = result_of(status, artifact_by_key)
    if result is None:
        error = error_of(status, ended_as(run), artifact_by_key, run.state)
        code, message = (error.code, error.message) if error else (status, f"The job is {status}.")
        raise PartFailed(f"{job_type.name} job {run.id}: {message}", job=str(run.id), code=code)
    return job_type.result.model_validate(public_result(result, run.id))
