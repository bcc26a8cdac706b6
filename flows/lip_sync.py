"""The `lip_sync` flow: render a video in which the person speaks the given audio."""

from prefect import flow

from flows.control import DEFAULT_CONTROL, Control
from flows.engines import resolve_engine
from flows.options import FLOW_OPTIONS
from flows.schemas import LipSyncJob, VideoResult
from flows.steps import job_context
from flows.talking_video import RenderRequest, render_talking_video


@flow(name="lip_sync", **FLOW_OPTIONS)
def lip_sync(job: LipSyncJob, control: Control = DEFAULT_CONTROL) -> VideoResult:
    """Prepare the avatar and the speech features in parallel, then render, encode, mux and upload."""
    with job_context(job) as context:
        result = render_talking_video(
            RenderRequest(
                picture=job.video,
                audio=job.audio,
                text=job.text,
                fps=job.fps,
                engine=resolve_engine(job),
                face=job.face,
                encode=job.encode,
                output=job.output,
                no_face=job.no_face,
                preparation=job.preparation,
                refresh=job.refresh,
                tenant=control.tenant,
            ),
            context,
        )
        context.finish(result)
    return result
