"""The `caption` flow: burn captions into a video, or add them as a subtitle track."""

from prefect import flow

from flows.control import USUAL, Control
from flows.options import JOB
from flows.output_names import captioned_name
from flows.schemas import CaptionJob, CaptionResult
from flows.steps import job_steps
from tasks.caption import CAPTIONED_FILE, Look, captioned_key, fetch_captions, put_captions
from tasks.fetch import fetch
from tasks.output_locations import check_output_location
from tasks.publish import upload


@flow(name="caption", **JOB)
def caption(job: CaptionJob, control: Control = USUAL) -> CaptionResult:
    """Fetch the video and its captions in parallel, burn or add the captions, and upload the result."""
    with job_steps(job, encode=(5, 96)) as steps:
        coming = fetch.submit(job.video, "video"), fetch_captions.submit(job.captions)
        video, text = steps.fetched(coming[0]), steps.result("fetch", coming[1])
        steps.took(job.captions, text.source)
        name = captioned_name(job.output, video.source.name)
        check_output_location(name, job.output)
        look = Look(how=job.how, size=job.size, side=job.place, crf=job.crf)
        key = captioned_key(video.source, text.source, look)
        made = steps.result("encode", put_captions.submit(key, video.source, text.source, look))
        stored = upload(made, CAPTIONED_FILE, name, job.output)
        result = CaptionResult(
            video=steps.stored(stored),
            name=stored.name,
            how=job.how,
            lines=text.lines,
            duration_s=video.duration_s or 0.0,
            cached=steps.cached,
            timings_s=steps.timings(),
        )
        steps.finish(result)
    return result
