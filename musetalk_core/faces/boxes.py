"""MuseTalk's face box, clipped once; and, on request, exactly as the published code does it."""

from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import InputError, NoFaceFound
from musetalk_core.types import Box, Float, Ints

_BRIDGE_LOW: Final = 28
_NOSE_MIDDLE: Final = 29
"""iBUG point whose height is the middle of the box."""
_NOSE_LOW: Final = 30
_POINTS: Final = 68


def musetalk_box(
    points: Float,
    width: int,
    height: int,
    bbox_shift: int = 0,
    extra_margin: int | None = None,
    detected: Box | None = None,
    parity: bool = False,
) -> Box:
    """
    Give the box that MuseTalk crops, as high above the middle of the nose as the face reaches below.

    Args:
        points:       (68, 2) float32 iBUG points in pixels.
        width:        of the picture in pixels.
        height:       of the picture in pixels.
        bbox_shift:   v1: pixels by which the middle moves down; see `shift_range`.
        extra_margin: v1.5: pixels added below, inside this very picture; None adds nothing.
        detected:     the face detector's box, taken where the points give none.
        parity:       the box of the original, bit for bit: points cut towards zero, no clipping at the right
                      and at the bottom, the detector's box also where the points leave the picture at
                      the left, and no box without a detected one. Its crop and its paste then disagree
                      where it leaves the picture.

    Returns:
        The one box for cropping and pasting, inside the picture (unless `parity`); empty where points and
        detector both give nothing.

    Raises:
        InputError: `points` has another shape.
    """
    if points.shape != (_POINTS, 2):
        raise InputError(f"a face has {_POINTS} points, not an array of shape {points.shape}")
    whole = _whole(points, parity)
    box = _from_points(whole, bbox_shift)
    if parity:
        if detected is None:
            return Box(0, 0, 0, 0)
        if box.is_empty or box.x1 < 0:  # parity: "error bbox" in musetalk/utils/preprocessing.py
            box = detected
        return _with_margin(box, height, extra_margin)
    inside = box.clipped(width, height)
    if inside.is_empty and detected is not None:
        inside = detected.clipped(width, height)
    return inside if inside.is_empty else _with_margin(inside, height, extra_margin)


def shift_range(points: Float) -> tuple[int, int]:
    """
    Tell which values of `bbox_shift` make sense: up or down by one step of the bridge of the nose.

    The original prints them as `[-a~b]`. They do not depend on the shift in use.

    Args:
        points: (T, 68, 2) float32 iBUG points in pixels, only of frames with a face.

    Returns:
        The lowest and the highest, (-a, b).

    Raises:
        NoFaceFound: T is 0.
    """
    if len(points) == 0:
        raise NoFaceFound("no frame shows a face, so there is no range for bbox_shift")
    heights = _whole(points, parity=True)[..., 1]
    up = np.mean(heights[:, _NOSE_LOW] - heights[:, _NOSE_MIDDLE])
    down = np.mean(heights[:, _NOSE_MIDDLE] - heights[:, _BRIDGE_LOW])
    return -int(up), int(down)


def _whole(points: npt.NDArray[np.floating], parity: bool) -> Ints:
    return (points if parity else np.floor(points)).astype(np.int64)  # the bare cast goes towards zero


def _from_points(whole: Ints, bbox_shift: int) -> Box:
    heights = whole[:, 1].copy()
    middle = heights[_NOSE_MIDDLE] = int(heights[_NOSE_MIDDLE]) + bbox_shift
    bottom = int(heights.max())
    top = max(0, middle - (bottom - middle))
    return Box(int(whole[:, 0].min()), top, int(whole[:, 0].max()), bottom)


def _with_margin(box: Box, height: int, margin: int | None) -> Box:
    return box if margin is None else Box(box.x1, box.y1, box.x2, min(box.y2 + margin, height))
