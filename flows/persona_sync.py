"""The `persona_sync` flow: lip-sync a video to a voice recording and caption it."""

from collections.abc import Iterator
from typing import Any

from prefect import flow

from flows.chains.books import books
from flows.chains.steps import run_steps
from flows.control import USUAL, Control
from flows.job_access import check_access
from flows.options import JOB
from flows.pipeline_schemas import PersonaSyncJob, PipelineResult, Step

VIDEO, WORDS, CAPTIONED = "lip_sync", "transcript", "captioned"
_OF_LIP_SYNC = {"video", "audio", "text", "engine", "version", "musetalk", "face", "encode"}


@flow(name="persona_sync", **JOB)
def persona_sync(job: PersonaSyncJob, control: Control = USUAL) -> PipelineResult:
    """
    Lip-sync the video, transcribe it, and add captions as files or to the video.

    Output names follow the names of the inputs.
    """
    with books() as open_books:
        check_access(job)
        return run_steps(tuple(steps_of(job)), open_books)


def steps_of(job: PersonaSyncJob) -> Iterator[Step]:
    """
    Yield the pipeline steps of a job; the step that makes the final video is the last.

    If no captions are added to the video, the lip-synced video is final: it gets the job's output location,
    and sidecar captions are stored beside it. Otherwise the captioned video is final and gets that name.
    """
    given = job.model_dump(mode="json", exclude_unset=True)
    place = given.get("output", {})
    talk = {name: value for name, value in given.items() if name in _OF_LIP_SYNC}
    if job.captions in {"none", "sidecar"}:
        if job.captions == "sidecar":
            yield Step(name=WORDS, type="transcribe", job=_words(job, _without_name(place)))
        yield Step(name=VIDEO, type="lip_sync", job={**talk, "output": place})
        return
    named = {"name": place["name"]} if place.get("name") else {}
    yield Step(name=VIDEO, type="lip_sync", job={**talk, "output": named})
    yield Step(name=WORDS, type="transcribe", job=_words(job, {}))
    yield Step(
        name=CAPTIONED,
        type="caption",
        job={
            "video": f"job://{VIDEO}",
            "captions": f"job://{WORDS}/srt",
            "how": job.captions,
            "crf": job.encode.crf,
            "output": place,
        },
    )


def _words(job: PersonaSyncJob, place: dict[str, Any]) -> dict[str, Any]:
    """Build the transcribe job for the lip-synced video, whose name the caption files inherit."""
    model = {"model": job.model} if job.model else {}
    return {"audio": f"job://{VIDEO}", "language": job.language, "output": place, **model}


def _without_name(place: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in place.items() if name != "name"}
