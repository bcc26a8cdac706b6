"""MuseTalk's face box, by the rule of its published code, clipped once."""

from typing import Final

import numpy as np

from musetalk_core.types import Box, Float

_NOSE_MIDDLE: Final = 29
"""iBUG point whose height is the middle of the box."""


def musetalk_box(
    points: Float,
    width: int,
    height: int,
    bbox_shift: int = 0,
    extra_margin: int = 0,
    detected: Box | None = None,
) -> Box:
    """
    Give the box that MuseTalk crops, as high above the middle of the nose as the face reaches below.

    Args:
        points:       (68, 2) float32 iBUG points in pixels.
        width:        of the picture in pixels.
        height:       of the picture in pixels.
        bbox_shift:   v1: pixels by which the middle moves down.
        extra_margin: v1.5: pixels added below, inside the picture.
        detected:     the detector's box, taken where the points give none; without it they count clipped.

    Returns:
        The box inside the picture; empty only where points and detector both give nothing.
    """
    whole = points.astype(np.int64)  # parity: truncated towards zero (musetalk/utils/preprocessing.py)
    middle = int(whole[_NOSE_MIDDLE, 1]) + bbox_shift
    whole[_NOSE_MIDDLE, 1] = middle
    bottom = int(whole[:, 1].max())
    top = max(0, middle - (bottom - middle))
    box = Box(int(whole[:, 0].min()), top, int(whole[:, 0].max()), bottom)
    if detected is not None and (box.is_empty or box.x1 < 0):
        box = detected
    margin = min(box.y2 + extra_margin, height)
    return Box(box.x1, box.y1, box.x2, margin).clipped(width, height)
