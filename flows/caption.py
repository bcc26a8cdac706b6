"""The `caption` flow: burn captions into a video, or add them as a subtitle track."""

from prefect import flow

from flows.media.context import job_context
from flows.media.statements import captioned_video
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.caption import CaptionJob, CaptionResult
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.storage.output_names import captioned_name
from tasks.catalog.output_locations import check_output_location
from tasks.steps.captions import (
    CAPTIONED_FILE,
    CaptionStyle,
    captioned_facts,
    captioned_key,
    fetch_captions,
    put_captions,
)
from tasks.steps.fetch import fetch


@flow(name="caption", **FLOW_OPTIONS)
def caption(job: CaptionJob, control: Control = DEFAULT_CONTROL) -> CaptionResult:
    """Fetch the video and its captions in parallel, burn or add the captions, and upload the result."""
    with job_context(job, encode=(5, 96)) as context:
        pending = fetch.submit(job.video, "video"), fetch_captions.submit(job.captions, job.encoding)
        video = context.wait_for_input(pending[0], is_rendered=False)
        captions = context.wait_for("fetch", pending[1])
        context.record_input(job.captions, captions.source)
        name = captioned_name(job.output, video.source.name)
        check_output_location(name, job.output)
        style = CaptionStyle(how=job.how, size=job.size, side=job.place, crf=job.crf, encoding=job.encoding)
        key = captioned_key(video.source, captions.source, style)
        captioned = context.wait_for("encode", put_captions.submit(key, video.source, captions.source, style))
        facts = captioned_facts(captioned)
        context.warn(*captions.warnings, *facts.warnings)
        [stored] = context.publish(captioned, {CAPTIONED_FILE: name}, job.output, captioned_video(job.how))
        result = CaptionResult(
            video=stored.ref,
            name=stored.name,
            how=job.how,
            lines=captions.lines,
            duration_s=round(facts.duration_s, 6),
            cached=context.cached,
            provenance=context.provenance,
            timings_s=context.timings(),
            warnings=context.warnings,
        )
        context.finish(result)
    return result
