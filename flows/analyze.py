"""The `analyze` flow: captioning, visual question answering, OCR, tagging, object and face detection."""

from prefect import flow

from flows.media.context import JobContext, job_context
from flows.media.image_analysis import ImageAnalysis, overlay_boxes, table_rows
from flows.media.model_selection import select_analysis_models
from flows.media.statements import ANNOTATED_IMAGE
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.analyze import AnalyzeJob, AnalyzeResult, Feature, FoundTag, FoundText, FoundThing
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.storage.output_names import annotated_image_name
from musetalk_core.vision.model_choice import ModelAssignment
from tasks.artifact_pages.analysis import show_analysis
from tasks.catalog.output_locations import check_output_location
from tasks.refs import SourceFile
from tasks.steps.analyze_image import ANNOTATED_FILE, annotations_key, draw, draw_preview, fetch_picture


@flow(name="analyze", **FLOW_OPTIONS)
def analyze(job: AnalyzeJob, control: Control = DEFAULT_CONTROL) -> AnalyzeResult:
    """Analyze an image with the installed models, describe it, and draw the detected boxes."""
    with job_context(job) as context:
        check_output_location(annotated_image_name(job.output, "picture"), job.output)
        assignment = select_analysis_models(job)
        picture = fetch_picture(job.image)
        context.record_input(job.image, picture)
        analysis, result = context.run_with_pinned_models(
            lambda: _analyze_image(job, assignment, picture, context)
        )
        show_analysis(
            draw_preview(picture, overlay_boxes(analysis)), result.text, result.model, table_rows(analysis)
        )
        context.finish(result)
    return result


def _analyze_image(
    job: AnalyzeJob, assignment: ModelAssignment, picture: SourceFile, context: JobContext
) -> tuple[ImageAnalysis, AnalyzeResult]:
    analysis = ImageAnalysis(job, assignment, picture, context)
    return analysis, _build_result(job, analysis, context, annotated_image_name(job.output, picture.name))


def _build_result(job: AnalyzeJob, analysis: ImageAnalysis, context: JobContext, name: str) -> AnalyzeResult:
    image_info, assignment = analysis.image_info(), analysis.assignment
    features = set[Feature](job.features)
    text = analysis.text()
    caption = analysis.description("short") if "caption" in features else None
    detailed = analysis.description("long") if "detailed" in features else None
    lines = analysis.lines() if "ocr" in features else None
    faces = analysis.faces() if "faces" in features else None
    tags = analysis.tags() if "tags" in features else None
    objects = analysis.objects() if "objects" in features and assignment.detector else None
    marks = overlay_boxes(analysis)
    annotated = context.wait_for(
        "draw", draw.submit(annotations_key(analysis.picture, marks), analysis.picture, marks)
    )
    context.record_models(*analysis.used_models.values())
    context.record_choice(writer=analysis.text_model, made_by=analysis.made_by)
    [stored] = context.publish(annotated, {ANNOTATED_FILE: name}, job.output, ANNOTATED_IMAGE)
    return AnalyzeResult(
        text=text,
        model=analysis.text_model,
        answered=None if job.question is None else assignment.answerer is not None,
        caption=caption,
        detailed=detailed,
        ocr=None if lines is None else [FoundText.from_record(line) for line in lines],
        objects=None if objects is None else [FoundThing.from_record(thing) for thing in objects],
        faces=None if faces is None else [FoundThing.from_record(thing) for thing in faces],
        tags=None if tags is None else [FoundTag.from_record(tag) for tag in tags],
        made_by=analysis.made_by,
        width=image_info.width,
        height=image_info.height,
        format=image_info.format,
        picture=stored.ref,
        name=stored.name,
        cached=context.cached,
        provenance=context.provenance,
        timings_s=context.timings(),
        warnings=[*analysis.warnings(), *context.warnings],
    )
