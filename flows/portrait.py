"""The `portrait` flow: animate a still image so that the person speaks an audio file or a text."""

from dataclasses import replace

from prefect import flow

from flows.control import USUAL, Control
from flows.engines import engine_of
from flows.framing import Framing
from flows.options import JOB
from flows.schemas import PortraitJob, VideoResult
from flows.speaking import speak_text
from flows.steps import Steps, job_steps
from flows.talking_video import Order, talking_video
from musetalk_core.faces.models import FACE_MESH
from musetalk_core.framing import Frame
from tasks.fetch import fetch
from tasks.framing import PNG, frame_picture, framed_key
from tasks.internal_files import artefact_file
from tasks.output_locations import check_output_location
from tasks.speech import WAV_FILE
from tasks.weights import pin


@flow(name="portrait", **JOB)
def portrait(job: PortraitJob, control: Control = USUAL) -> VideoResult:
    """Run the lip_sync steps on a one-frame avatar with subtle idle motion; a text is synthesized first."""
    with job_steps(job) as steps:
        where = job.output
        check_output_location(f"{where.name or 'portrait'}.mp4", where)
        order = Order(
            picture=job.image,
            audio=job.audio or "",
            text=job.text,
            fps=job.fps,
            engine=engine_of(job),
            face=job.face,
            encode=job.encode,
            output=where,
            refresh=job.refresh,
            tenant=control.tenant,
            idle_seed=job.seed if job.idle_motion else None,
        )
        result = talking_video(_with_speech(job, _framed(job, order, steps), steps), steps)
        steps.finish(result)
    return result


def _framed(job: PortraitJob, order: Order, steps: Steps) -> Order:
    if job.framing == Framing():
        return order
    source = steps.fetched(fetch.submit(job.image, "video")).source
    frame = Frame(**job.framing.model_dump())
    if frame.crop != "none":
        steps.used(*pin(FACE_MESH))
    made = steps.result(
        "frame", frame_picture.submit(framed_key(source, frame, job.face), source, frame, job.face)
    )
    return replace(order, picture=artefact_file(made, PNG), called=source.name)


def _with_speech(job: PortraitJob, order: Order, steps: Steps) -> Order:
    """Synthesize the text if there is no audio; the job uses the speech artifact at full quality."""
    if job.audio is not None:
        return order
    spoken = speak_text([job.text or ""], job.voice, steps)
    made = spoken.made.artefact
    return replace(
        order, audio=artefact_file(made, WAV_FILE), speech=made, text=None, warnings=tuple(spoken.warnings)
    )
