"""The `lip_sync` flow: render a video in which the person speaks the given audio."""

from prefect import flow

from flows.media.context import job_context
from flows.media.imperceptible_mark import mark_key_id
from flows.media.labels import corner_label, opening_card, spoken_notice
from flows.media.model_selection import resolve_engine
from flows.media.notice_before_recording import with_notice
from flows.media.quality import quality_request
from flows.media.talking_video import RenderRequest, render_talking_video
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.video import LipSyncJob, VideoResult


@flow(name="lip_sync", **FLOW_OPTIONS)
def lip_sync(job: LipSyncJob, control: Control = DEFAULT_CONTROL) -> VideoResult:
    """Prepare the avatar and the speech features in parallel, then render, encode, mux and upload."""
    with job_context(job) as context:
        engine, warnings = resolve_engine(job)
        request = RenderRequest(
            picture=job.video,
            audio=job.audio,
            text=job.text,
            fps=job.fps,
            engine=engine,
            face=job.face,
            encode=job.encode,
            output=job.output,
            no_face=job.no_face,
            preparation=job.preparation,
            refresh=job.refresh,
            tenant=control.tenant,
            label=corner_label(job.label, control.tenant),
            card=opening_card(job.label),
            mark=mark_key_id(job.imperceptible_mark, engine.name),
            quality=quality_request(job.quality, job.fail_below, engine.name),
            warnings=tuple(warnings),
        )
        notice = spoken_notice(job.label, control.tenant, has_picture=True)
        request = with_notice(request, notice, mark_key_id(job.imperceptible_mark), context)
        result = render_talking_video(request, context)
        context.finish(result)
    return result
