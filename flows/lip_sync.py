"""The `lip_sync` flow: render a video in which the person speaks the given audio."""

from prefect import flow

from flows.control import USUAL, Control
from flows.engines import engine_of
from flows.options import JOB
from flows.schemas import LipSyncJob, VideoResult
from flows.steps import job_steps
from flows.talking_video import Order, talking_video


@flow(name="lip_sync", **JOB)
def lip_sync(job: LipSyncJob, control: Control = USUAL) -> VideoResult:
    """Prepare the avatar and the speech features in parallel, then render, encode, mux and upload."""
    with job_steps(job) as steps:
        result = talking_video(
            Order(
                picture=job.video,
                audio=job.audio,
                text=job.text,
                fps=job.fps,
                engine=engine_of(job),
                face=job.face,
                encode=job.encode,
                output=job.output,
                no_face=job.no_face,
                preparation=job.preparation,
                refresh=job.refresh,
                tenant=control.tenant,
            ),
            steps,
        )
        steps.finish(result)
    return result
