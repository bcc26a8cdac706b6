"""The `portrait` flow: animate a still image so that the person speaks an audio file or a text."""

from dataclasses import replace

from prefect import flow

from flows.media.context import JobContext, job_context
from flows.media.imperceptible_mark import mark_key_id
from flows.media.labels import corner_label, opening_card, spoken_notice
from flows.media.model_selection import resolve_engine
from flows.media.notice_before_recording import with_notice
from flows.media.quality import quality_request
from flows.media.speech_synthesis import synthesize_text
from flows.media.talking_video import RenderRequest, render_talking_video
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.framing import Framing
from flows.schemas.video import PortraitJob, VideoResult
from musetalk_core.faces.tflite import FACE_MESH
from musetalk_core.rendering.portrait_crop import CropOptions
from tasks.catalog.output_locations import check_output_location
from tasks.inputs.internal_files import artefact_file
from tasks.models.install import pin
from tasks.steps.fetch import fetch
from tasks.steps.portrait_crop import FRAMED_FILE, frame_picture, framed_key
from tasks.steps.speech_features import WAV_FILE


@flow(name="portrait", **FLOW_OPTIONS)
def portrait(job: PortraitJob, control: Control = DEFAULT_CONTROL) -> VideoResult:
    """Run the lip_sync steps on a one-frame avatar with subtle idle motion; a text is synthesized first."""
    with job_context(job) as context:
        output = job.output
        check_output_location(f"{output.name or 'portrait'}.mp4", output)
        engine, warnings = resolve_engine(job)
        request = RenderRequest(
            picture=job.image,
            audio=job.audio or "",
            text=job.text,
            fps=job.fps,
            engine=engine,
            face=job.face,
            encode=job.encode,
            output=output,
            refresh=job.refresh,
            tenant=control.tenant,
            label=corner_label(job.label, control.tenant),
            card=opening_card(job.label),
            mark=mark_key_id(job.imperceptible_mark, engine.name),
            quality=quality_request(job.quality, job.fail_below, engine.name),
            warnings=tuple(warnings),
            idle_seed=job.seed if job.idle_motion else None,
        )
        result = render_talking_video(
            _with_speech(job, _with_framing(job, request, context), context, control.tenant), context
        )
        context.finish(result)
    return result


def _with_framing(job: PortraitJob, request: RenderRequest, context: JobContext) -> RenderRequest:
    if job.framing == Framing():
        return request
    source = context.wait_for_input(fetch.submit(job.image, "video")).source
    frame = CropOptions(**job.framing.model_dump())
    if frame.crop != "none":
        context.record_models(*pin(FACE_MESH))
    framed = context.wait_for(
        "frame", frame_picture.submit(framed_key(source, frame, job.face), source, frame, job.face)
    )
    # a number counts the faces of the whole picture; in the crop, the chosen one is in the middle
    face = "most_central" if isinstance(job.face, int) and frame.crop != "none" else job.face
    return replace(request, picture=artefact_file(framed, FRAMED_FILE), source_name=source.name, face=face)


def _with_speech(
    job: PortraitJob, request: RenderRequest, context: JobContext, tenant: str | None
) -> RenderRequest:
    """Synthesize the text, or the notice before a given recording; the video gets the uncompressed speech."""
    notice, mark = spoken_notice(job.label, tenant, has_picture=True), mark_key_id(job.imperceptible_mark)
    if job.audio is not None:
        return with_notice(request, notice, mark, context)
    spoken = synthesize_text(
        [*notice, job.text or ""],
        job.voice,
        context,
        fallback=job.fallback,
        mark=mark,
    )
    speech = spoken.audio.artefact
    return replace(
        request,
        audio=artefact_file(speech, WAV_FILE),
        speech=speech,
        text=None,
        warnings=(*request.warnings, *spoken.warnings),
    )
