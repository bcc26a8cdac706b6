"""Image analysis results as an overlay of boxes and as rows of a table for Prefect's pages."""

from typing import Any

from flows.looking import Looking
from musetalk_core.types import Box
from tasks.analysis import Mark


def marks_of(looking: Looking) -> list[Mark]:
    """Return the boxes of all detections. Faces and lines of text carry their number in the table."""
    faces, lines = looking.found("faces").things, looking.found("ocr").lines
    return [
        *(Mark(kind="object", name=t.label, box=corners(t.box)) for t in looking.found("objects").things),
        *(Mark(kind="text", name=f"{n}", box=corners(line.box)) for n, line in enumerate(lines, 1)),
        *(Mark(kind="face", name=f"face {n}", box=corners(face.box)) for n, face in enumerate(faces, 1)),
    ]


def rows_of(looking: Looking) -> list[dict[str, Any]]:
    """Return the rows of the result table, one per detection: kind, label, score and box."""
    things, lines = looking.found("objects").things, looking.found("ocr").lines
    return [
        *(_row("face", f"face {n}", f.score, f.box) for n, f in enumerate(looking.found("faces").things, 1)),
        *(_row("object", thing.label, thing.score, thing.box) for thing in things),
        *(_row(f"text {n}", line.text, line.score, line.box) for n, line in enumerate(lines, 1)),
        *(_row("tag", tag.label, tag.score, None) for tag in looking.found("tags").tags),
    ]


def corners(box: Box) -> tuple[int, int, int, int]:
    """Return the box as x1, y1, x2, y2 in pixels."""
    return box.x1, box.y1, box.x2, box.y2


def _row(kind: str, label: str, score: float | None, box: Box | None) -> dict[str, Any]:
    place = "" if box is None else ", ".join(map(str, corners(box)))
    return {"kind": kind, "label": label, "score": "" if score is None else round(score, 3), "box": place}
