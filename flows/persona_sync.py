"""The `persona_sync` flow: lip-sync a video to a voice recording and caption it."""

from collections.abc import Iterator
from typing import Any

from prefect import flow

from flows.orchestration.pipeline_runner import run_pipeline
from flows.orchestration.run_report import run_report
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.pipeline import PersonaSyncJob, PipelineResult, Step
from flows.storage.job_access import check_access

VIDEO_STEP, TRANSCRIPT_STEP, CAPTIONED_STEP = "lip_sync", "transcript", "captioned"
_LIP_SYNC_FIELDS = {
    *("video", "audio", "text", "engine", "fallback", "version", "musetalk", "face", "encode"),
    "label",
    "imperceptible_mark",
    "quality",
    "fail_below",
}


@flow(name="persona_sync", **FLOW_OPTIONS)
def persona_sync(job: PersonaSyncJob, control: Control = DEFAULT_CONTROL) -> PipelineResult:
    """
    Lip-sync the video, transcribe it, and add captions as files or to the video.

    Output names follow the names of the inputs.
    """
    with run_report() as report:
        check_access(job)
        return run_pipeline(tuple(pipeline_steps(job)), report)


def pipeline_steps(job: PersonaSyncJob) -> Iterator[Step]:
    """
    Yield the pipeline steps of a job; the step that makes the final video is the last.

    If no captions are added to the video, the lip-synced video is final: it gets the job's output location,
    and sidecar captions are stored beside it. Otherwise the captioned video is final and gets that name.
    """
    request = job.model_dump(mode="json", exclude_unset=True)
    output = request.get("output", {})
    lip_sync_fields = {name: value for name, value in request.items() if name in _LIP_SYNC_FIELDS}
    if job.captions in {"none", "sidecar"}:
        if job.captions == "sidecar":
            yield Step(
                name=TRANSCRIPT_STEP, type="transcribe", job=_transcribe_fields(job, _without_name(output))
            )
        yield Step(name=VIDEO_STEP, type="lip_sync", job={**lip_sync_fields, "output": output})
        return
    named_output = {"name": output["name"]} if output.get("name") else {}
    yield Step(name=VIDEO_STEP, type="lip_sync", job={**lip_sync_fields, "output": named_output})
    yield Step(name=TRANSCRIPT_STEP, type="transcribe", job=_transcribe_fields(job, {}))
    yield Step(
        name=CAPTIONED_STEP,
        type="caption",
        job={
            "video": f"job://{VIDEO_STEP}",
            "captions": f"job://{TRANSCRIPT_STEP}/srt",
            "how": job.captions,
            "crf": job.encode.crf,
            "output": output,
        },
    )


def _transcribe_fields(job: PersonaSyncJob, output: dict[str, Any]) -> dict[str, Any]:
    """Build the transcribe job for the lip-synced video, whose name the caption files inherit."""
    model = ({"model": job.model} if job.model else {}) | ({"fallback": True} if job.fallback else {})
    return {"audio": f"job://{VIDEO_STEP}", "language": job.language, "output": output, **model}


def _without_name(output: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in output.items() if name != "name"}
