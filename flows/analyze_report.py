"""Image analysis results as an overlay of boxes and as rows of a table for Prefect's pages."""

from typing import Any

from flows.looking import ImageAnalysis
from musetalk_core.types import Box
from tasks.analysis import Annotation


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
