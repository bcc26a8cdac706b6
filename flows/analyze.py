"""The `analyze` flow: captioning, visual question answering, OCR, tagging, object and face detection."""

from prefect import flow

from flows.analyze_cast import cast_of
from flows.analyze_report import marks_of, rows_of
from flows.analyze_schemas import AnalyzeJob, AnalyzeResult, Feature, FoundTag, FoundText, FoundThing
from flows.control import USUAL, Control
from flows.looking import Looking
from flows.options import JOB
from flows.output_names import analysis_name
from flows.steps import Steps, job_steps
from musetalk_core.analysis.choosing import Cast
from tasks.analysis import JPEG, draw, fetch_picture, marks_key, preview
from tasks.analysis_page import show
from tasks.output_locations import check_output_location
from tasks.publish import upload
from tasks.refs import SourceFile


@flow(name="analyze", **JOB)
def analyze(job: AnalyzeJob, control: Control = USUAL) -> AnalyzeResult:
    """Analyze an image with the installed models, describe it, and draw the detected boxes."""
    with job_steps(job) as steps:
        check_output_location(analysis_name(job.output, "picture"), job.output)
        cast = cast_of(job)
        picture = fetch_picture(job.image)
        steps.took(job.image, picture)
        looking, result = steps.run_with_pinned_models(lambda: _looked(job, cast, picture, steps))
        show(preview(picture, marks_of(looking)), result.text, result.model, rows_of(looking))
        steps.finish(result)
    return result


def _looked(job: AnalyzeJob, cast: Cast, picture: SourceFile, steps: Steps) -> tuple[Looking, AnalyzeResult]:
    looking = Looking(job, cast, picture, steps)
    return looking, _result(job, looking, steps, analysis_name(job.output, picture.name))


def _result(job: AnalyzeJob, looking: Looking, steps: Steps, name: str) -> AnalyzeResult:
    seen, cast = looking.seen(), looking.cast
    asked = set[Feature](job.features)
    text = looking.text()
    caption = looking.description("short") if "caption" in asked else None
    detailed = looking.description("long") if "detailed" in asked else None
    lines = looking.lines() if "ocr" in asked else None
    faces = looking.faces() if "faces" in asked else None
    tags = looking.tags() if "tags" in asked else None
    objects = looking.objects() if "objects" in asked and cast.finds else None
    marks = marks_of(looking)
    made = steps.result("draw", draw.submit(marks_key(looking.picture, marks), looking.picture, marks))
    stored = upload(made, JPEG, name, job.output)
    steps.used(*looking.used.values())
    steps.settled(writer=looking.writer, made_by=looking.made_by)
    return AnalyzeResult(
        text=text,
        model=looking.writer,
        answered=None if job.question is None else cast.answers is not None,
        caption=caption,
        detailed=detailed,
        ocr=None if lines is None else [FoundText.of(line) for line in lines],
        objects=None if objects is None else [FoundThing.of(thing) for thing in objects],
        faces=None if faces is None else [FoundThing.of(thing) for thing in faces],
        tags=None if tags is None else [FoundTag.of(tag) for tag in tags],
        made_by=looking.made_by,
        width=seen.width,
        height=seen.height,
        format=seen.format,
        picture=steps.stored(stored),
        name=stored.name,
        cached=steps.cached,
        timings_s=steps.timings(),
        warnings=looking.warnings(),
    )
