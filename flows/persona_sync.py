"""persona_sync: a clip and a voice clip become a lip-synced video with captions."""

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
    """Lip-sync, write down what is said, and put it beside the video or into it; names follow the inputs."""
    with books() as open_books:
        check_access(job)
        return run_steps(tuple(steps_of(job)), open_books)


def steps_of(job: PersonaSyncJob) -> Iterator[Step]:
    """
    Yield the steps of a job; the finished video's is the last.

    Without captions in the picture the video of the first step is the finished one and goes where the job
    wants it, with its captions beside it; else the captioned one does, under the name that it would have had.
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
    """Listen to the finished video: its name is what the captions are named after."""
    model = {"model": job.model} if job.model else {}
    return {"audio": f"job://{VIDEO}", "language": job.language, "output": place, **model}


def _without_name(place: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in place.items() if name != "name"}
