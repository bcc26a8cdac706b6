"""What is found in a picture: plain frozen records. Boxes lie inside it, in pixels as a person sees it."""

from dataclasses import dataclass

import numpy as np

from musetalk_core.types import Box, Float


@dataclass(frozen=True, slots=True)
class Tag:
    """
    What a picture as a whole looks like.

    Attributes:
        label: an English noun.
        score: 0..1, how sure.
    """

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Thing:
    """
    Something with a place.

    Attributes:
        label: an English noun; `face` for a face.
        box:   inside the picture, never empty.
        score: 0..1, how sure; None where the model does not say.
    """

    label: str
    box: Box
    score: float | None


@dataclass(frozen=True, slots=True)
class TextLine:
    """
    A line of text.

    Attributes:
        text:    as read, spaces mended.
        box:     around it, inside the picture, never empty.
        corners: four (x, y) from the line's own top left, clockwise as the line is read.
        score:   0..1, how sure; None where the model does not say.
    """

    text: str
    box: Box
    corners: tuple[tuple[int, int], ...]
    score: float | None


def box_in(points: Float, size: tuple[int, int]) -> Box | None:
    """
    Give the box around points (n, 2), in whole pixels and clipped to a picture.

    Args:
        points: x, y in pixels; may lie outside.
        size:   width and height of the picture.

    Returns:
        None when nothing of it lies inside.
    """
    low, high = np.floor(points.min(0)), np.ceil(points.max(0))
    box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clipped(*size)
    return None if box.is_empty else box


def line_of(text: str, corners: Float, score: float | None, size: tuple[int, int]) -> TextLine | None:
    """
    Make a line of what a reader found.

    Args:
        text:    as read; blanks at its ends are dropped.
        corners: (4, 2) in pixels; may lie outside.
        score:   0..1, or None.
        size:    width and height of the picture.

    Returns:
        None for a line without letters or outside the picture.
    """
    box, said = box_in(corners, size), " ".join(text.split())
    if box is None or not said:
        return None
    inside = np.clip(np.rint(corners), 0, np.array(size)).astype(int)
    return TextLine(said, box, tuple((int(x), int(y)) for x, y in inside), score)
