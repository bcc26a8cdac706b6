"""
Image analysis for one job: run each step on first use, and present the findings.

`ImageAnalysis` runs the steps and reuses their results; `overlay_boxes` and `table_rows` convert them for the
annotated image and the result table.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from flows.media.context import JobContext
from flows.schemas.analyze import AnalyzeJob
from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.types import Box
from musetalk_core.vision import template_caption
from musetalk_core.vision.findings import DetectedObject, Tag, TextLine
from musetalk_core.vision.model_choice import STARTER, ModelAssignment
from musetalk_core.warning_codes import WarningCode, resolution_warnings
from tasks.models.install import pin
from tasks.refs import SourceFile
from tasks.steps.analyze_image import (
    AnalysisStep,
    AnalysisStepResult,
    Annotation,
    ImageFacts,
    TextLength,
    analysis_step_key,
    look_at,
)

AnalysisPart = Literal["size", "ocr", "tags", "faces", "objects", "describe", "answer"]


@dataclass(slots=True)
class ImageAnalysis:
    """
    The analysis of one image; each step runs at most once.

    Attributes:
        job:        request.
        assignment: model for each part of the analysis.
        picture:    fetched image file.
        context:    context of the run.
        made_by:    model that did each part so far, by part.
    """

    job: AnalyzeJob
    assignment: ModelAssignment
    picture: SourceFile
    context: JobContext
    made_by: dict[str, str] = field(default_factory=dict[str, str])
    used_models: dict[str, PinnedModel] = field(default_factory=dict[str, PinnedModel])
    """Models used so far by name, pinned at first use."""
    _results: dict[AnalysisStep, AnalysisStepResult] = field(
        default_factory=dict[AnalysisStep, AnalysisStepResult]
    )

    def image_info(self) -> ImageFacts:
        """Decode the image and return its size and format."""
        image_info = self._run("size", "").seen
        if image_info is None:
            raise RuntimeError("the size step returned no size")
        return image_info

    def lines(self) -> tuple[TextLine, ...]:
        """Return the lines of text; empty if no installed model reads text."""
        return self._run("ocr", self.assignment.reader).lines if self.assignment.reader else ()

    def tags(self) -> tuple[Tag, ...]:
        """Return the classes of the whole image; empty if no installed model classifies."""
        return self._run("tags", self.assignment.tagger).tags if self.assignment.tagger else ()

    def faces(self) -> tuple[DetectedObject, ...]:
        """Return all detected faces."""
        return self._run("faces", self.assignment.face_finder).things

    def objects(self) -> tuple[DetectedObject, ...]:
        """Return all detected objects; empty if no installed model detects them."""
        return self._run("objects", self.assignment.detector).things if self.assignment.detector else ()

    def text(self) -> str:
        """Return the answer to the question, or a description if no question can be answered."""
        if self.job.question is not None and self.assignment.answerer is not None:
            return self._run("answer", self.assignment.answerer, self.job.length, self.job.question).text
        description = self.description("long" if "detailed" in self.job.features else self.job.length)
        return description if self.job.question is None else template_caption.unanswered_text(description)

    def description(self, length: TextLength) -> str:
        """Return a description of the image."""
        if self.assignment.describer != STARTER:
            return self._run("describe", self.assignment.describer, length).text
        image_info = self.image_info()
        return template_caption.compose_description(
            (image_info.width, image_info.height), self.tags(), self.faces(), self.lines(), length
        )

    @property
    def text_model(self) -> str:
        """Name of the model that wrote the text."""
        return self.assignment.answerer or self.assignment.describer

    def result_of(self, part: AnalysisPart) -> AnalysisStepResult:
        """Return the result of a step that has already run; an empty result if it has not run."""
        return next(
            (sight for look, sight in self._results.items() if look.what == part), AnalysisStepResult()
        )

    def warnings(self) -> list[str]:
        """Return the warnings for the caller."""
        facts = self.image_info()
        frame_warnings = (
            [WarningCode.FIRST_FRAME_ONLY("the file holds more frames or pages")] if facts.is_part else []
        )
        size_warnings = resolution_warnings(facts.width, facts.height, "small text and faces may be missed")
        return [*self.assignment.warnings, *frame_warnings, *size_warnings]

    def _run(
        self, part: AnalysisPart, model: str, length: TextLength = "normal", question: str = ""
    ) -> AnalysisStepResult:
        weights = self._pin_model(model) if model else None
        request = AnalysisStep(what=part, by=model, length=length, question=question, weights=weights)
        if request not in self._results:
            key = analysis_step_key(self.picture, request)
            self._results[request] = self.context.wait_for(part, look_at.submit(key, self.picture, request))
            if model:
                self.made_by[part] = model
        return self._results[request]

    def _pin_model(self, name: str) -> PinnedModel:
        if name not in self.used_models:
            (self.used_models[name],) = pin(name)
        return self.used_models[name]


def overlay_boxes(analysis: ImageAnalysis) -> list[Annotation]:
    """Return the boxes of all detections. Faces and lines of text carry their number in the table."""
    faces, lines = analysis.result_of("faces").things, analysis.result_of("ocr").lines
    return [
        *(
            Annotation(kind="object", name=t.label, box=box_corners(t.box))
            for t in analysis.result_of("objects").things
        ),
        *(Annotation(kind="text", name=f"{n}", box=box_corners(line.box)) for n, line in enumerate(lines, 1)),
        *(
            Annotation(kind="face", name=f"face {n}", box=box_corners(face.box))
            for n, face in enumerate(faces, 1)
        ),
    ]


def table_rows(analysis: ImageAnalysis) -> list[dict[str, Any]]:
    """Return the rows of the result table, one per detection: kind, label, score and box."""
    things, lines = analysis.result_of("objects").things, analysis.result_of("ocr").lines
    return [
        *(
            _row("face", f"face {n}", f.score, f.box)
            for n, f in enumerate(analysis.result_of("faces").things, 1)
        ),
        *(_row("object", thing.label, thing.score, thing.box) for thing in things),
        *(_row(f"text {n}", line.text, line.score, line.box) for n, line in enumerate(lines, 1)),
        *(_row("tag", tag.label, tag.score, None) for tag in analysis.result_of("tags").tags),
    ]


def box_corners(box: Box) -> tuple[int, int, int, int]:
    """Return the box as x1, y1, x2, y2 in pixels."""
    return box.x1, box.y1, box.x2, box.y2


def _row(kind: str, label: str, score: float | None, box: Box | None) -> dict[str, Any]:
    corners_text = "" if box is None else ", ".join(map(str, box_corners(box)))
    return {
        "kind": kind,
        "label": label,
        "score": "" if score is None else round(score, 3),
        "box": corners_text,
    }
