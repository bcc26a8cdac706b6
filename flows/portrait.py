"""portrait: make the person in a still picture say the given speech."""

from prefect import flow

from flows.control import USUAL, Control
from flows.engines import engine_of
from flows.options import JOB
from flows.schemas import PortraitJob, VideoResult
from flows.steps import job_steps
from flows.talking_video import Order, talking_video


@flow(name="portrait", **JOB)
def portrait(job: PortraitJob, control: Control = USUAL) -> VideoResult:
    """The lip_sync steps on a one-frame avatar, with gentle idle motion of the head."""
    with job_steps() as steps:
        result = talking_video(
            Order(
                picture=job.image,
                audio=job.audio,
                text=job.text,
                fps=job.fps,
                engine=engine_of(job),
                face=job.face,
                encode=job.encode,
                output=job.output,
                refresh=job.refresh,
                idle_seed=job.seed if job.idle_motion else None,
            ),
            steps,
        )
        steps.finish(result)
    return result
