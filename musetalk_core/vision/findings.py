"""Data classes of image analysis results. Boxes are in pixels of the upright image and inside it."""

from dataclasses import dataclass

import numpy as np

from musetalk_core.types import Box, Float


@dataclass(frozen=True, slots=True)
class Tag:
    """
    A class of the image as a whole.

    Attributes:
        label: English noun.
        score: confidence 0..1.
    """

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """
    An object or face with its bounding box.

    Attributes:
        label: English noun; `face` for a face.
        box:   bounding box inside the image, never empty.
        score: confidence 0..1; None if the model gives none.
    """

    label: str
    box: Box
    score: float | None


@dataclass(frozen=True, slots=True)
class TextLine:
    """
    A line of text.

    Attributes:
        text:    the text, with whitespace normalized.
        box:     bounding box inside the image, never empty.
        corners: four (x, y) in pixels, clockwise from the top left in the line's own orientation.
        score:   confidence 0..1; None if the model gives none.
    """

    text: str
    box: Box
    corners: tuple[tuple[int, int], ...]
    score: float | None


def bounding_box(points: Float, size: tuple[int, int]) -> Box | None:
    """
    Return the bounding box of points, in whole pixels and clipped to the image.

    Args:
        points: (n, 2) x, y in pixels; may be outside the image.
        size:   width and height of the image.

    Returns:
        The box; None if it is entirely outside the image.
    """
    low, high = np.floor(points.min(0)), np.ceil(points.max(0))
    box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clip(*size)
    return None if box.is_empty else box


def make_text_line(text: str, corners: Float, score: float | None, size: tuple[int, int]) -> TextLine | None:
    """
    Create a `TextLine` from the output of an OCR model.

    Args:
        text:    recognized text; whitespace is normalized.
        corners: (4, 2) x, y in pixels; may be outside the image.
        score:   confidence 0..1, or None.
        size:    width and height of the image.

    Returns:
        The line; None if it has no text or is outside the image.
    """
    box, normalized = bounding_box(corners, size), " ".join(text.split())
    if box is None or not normalized:
        return None
    inside = np.clip(np.rint(corners), 0, np.array(size)).astype(int)
    return TextLine(normalized, box, tuple((int(x), int(y)) for x, y in inside), score)
