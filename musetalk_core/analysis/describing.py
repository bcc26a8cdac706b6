"""Image description from a template, filled with the results of the starter models (tags, faces, text)."""

from collections.abc import Sequence
from typing import Final

from musetalk_core.analysis.findings import Tag, TextLine, Thing
from musetalk_core.analysis.florence import Length

_LIKELY, _POSSIBLE = 0.5, 0.25
"""Scores from which on a tag is called a likeness ("looks like") and a possible one ("may look like")."""
_EXCERPT: Final[dict[Length, int]] = {"short": 40, "normal": 200, "long": 100_000}
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COLUMNS, _ROWS = ("left", "centre", "right"), ("top", "middle", "bottom")


def describe(
    size: tuple[int, int],
    tags: Sequence[Tag],
    faces: Sequence[Thing],
    lines: Sequence[TextLine],
    length: Length,
) -> str:
    """
    Compose a description of an image.

    Args:
        size:   width and height of the image in pixels.
        tags:   tags, highest score first.
        faces:  faces, largest first.
        lines:  lines of text in reading order.
        length: `long` adds the positions of faces and quotes the whole text; `short` names one tag at most.
    """
    parts = [
        f"A picture of {size[0]} x {size[1]} pixels with {_counted(len(faces), 'face')} "
        f"and {_counted(len(lines), 'line')} of text.",
        _likeness(tags, length),
        _places(faces, size) if length == "long" else "",
        _quoted(lines, length),
    ]
    return " ".join(part for part in parts if part)


def unanswered(description: str) -> str:
    """Return the text for a question that no installed model can answer, with the description instead."""
    return (
        "The question was not answered: no model for questions about images is in use."
        f" Description by the starter models: {description}"
    )


def _counted(count: int, noun: str) -> str:
    word = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return f"{word} {noun}{'' if count == 1 else 's'}"


def _likeness(tags: Sequence[Tag], length: Length) -> str:
    """Return the sentence about tags: a likeness, not a fact, because the tagger has only 1000 classes."""
    named = [tag for tag in tags if tag.score >= _POSSIBLE][: 1 if length == "short" else 3]
    if not named:
        return "" if length == "short" else "No ImageNet class matched with confidence above 0.25."
    words = ", ".join(f"{tag.label} ({tag.score:.0%})" for tag in named)
    return f"As a whole it {'looks' if named[0].score >= _LIKELY else 'may look'} like: {words}."


def _places(faces: Sequence[Thing], size: tuple[int, int]) -> str:
    if not faces:
        return ""
    places = [_place(face, size) for face in faces]
    return f"Faces, largest first: {', '.join(places)}."


def _place(face: Thing, size: tuple[int, int]) -> str:
    column = _third((face.box.x1 + face.box.x2) / 2, size[0])
    row = _third((face.box.y1 + face.box.y2) / 2, size[1])
    return f"{_ROWS[row]} {_COLUMNS[column]}"


def _third(middle: float, whole: int) -> int:
    return min(2, int(3 * middle / whole))


def _quoted(lines: Sequence[TextLine], length: Length) -> str:
    if not lines:
        return ""
    text = " / ".join(line.text for line in lines)
    most = _EXCERPT[length]
    return f"The text reads: “{text if len(text) <= most else text[:most].rstrip() + ' …'}”"
