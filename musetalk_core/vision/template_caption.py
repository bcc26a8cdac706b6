"""Image description from a template, filled with the results of the starter models (tags, faces, text)."""

from collections.abc import Sequence
from typing import Final

from musetalk_core.vision.findings import DetectedObject, Tag, TextLine
from musetalk_core.vision.florence import Length

_LIKELY_SCORE, _POSSIBLE_SCORE = 0.5, 0.25
"""Scores from which on a tag is called a likeness ("looks like") and a possible one ("may look like")."""
_MAX_EXCERPT_CHARS: Final[dict[Length, int]] = {"short": 40, "normal": 200, "long": 100_000}
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COLUMNS, _ROWS = ("left", "centre", "right"), ("top", "middle", "bottom")


def compose_description(
    size: tuple[int, int],
    tags: Sequence[Tag],
    faces: Sequence[DetectedObject],
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
        f"A picture of {size[0]} x {size[1]} pixels with {_count_phrase(len(faces), 'face')} "
        f"and {_count_phrase(len(lines), 'line')} of text.",
        _tags_sentence(tags, length),
        _faces_sentence(faces, size) if length == "long" else "",
        _text_sentence(lines, length),
    ]
    return " ".join(part for part in parts if part)


def unanswered_text(description: str) -> str:
    """Return the text for a question that no installed model can answer, with the description instead."""
    return (
        "The question was not answered: no model for questions about images is in use."
        f" Description by the starter models: {description}"
    )


def _count_phrase(count: int, noun: str) -> str:
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return f"{number} {noun}{'' if count == 1 else 's'}"


def _tags_sentence(tags: Sequence[Tag], length: Length) -> str:
    """Return the sentence about tags: a likeness, not a fact, because the tagger has only 1000 classes."""
    likely_tags = [tag for tag in tags if tag.score >= _POSSIBLE_SCORE][: 1 if length == "short" else 3]
    if not likely_tags:
        return "" if length == "short" else "No ImageNet class matched with confidence above 0.25."
    words = ", ".join(f"{tag.label} ({tag.score:.0%})" for tag in likely_tags)
    return f"As a whole it {'looks' if likely_tags[0].score >= _LIKELY_SCORE else 'may look'} like: {words}."


def _faces_sentence(faces: Sequence[DetectedObject], size: tuple[int, int]) -> str:
    if not faces:
        return ""
    positions = [_position_phrase(face, size) for face in faces]
    return f"Faces, largest first: {', '.join(positions)}."


def _position_phrase(face: DetectedObject, size: tuple[int, int]) -> str:
    column = _third_index((face.box.x1 + face.box.x2) / 2, size[0])
    row = _third_index((face.box.y1 + face.box.y2) / 2, size[1])
    return f"{_ROWS[row]} {_COLUMNS[column]}"


def _third_index(center: float, length: int) -> int:
    return min(2, int(3 * center / length))


def _text_sentence(lines: Sequence[TextLine], length: Length) -> str:
    if not lines:
        return ""
    text = " / ".join(line.text for line in lines)
    max_chars = _MAX_EXCERPT_CHARS[length]
    return f"The text reads: “{text if len(text) <= max_chars else text[:max_chars].rstrip() + ' …'}”"
