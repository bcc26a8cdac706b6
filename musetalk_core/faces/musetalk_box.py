"""MuseTalk's face box from 68 landmarks, clipped or exactly as the published code computes it."""

from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import InputError, NoFaceFound
from musetalk_core.types import Box, Float, Ints

_BRIDGE_LOW: Final = 28
_NOSE_MIDDLE: Final = 29
"""iBUG point whose y is the middle of the box."""
_NOSE_LOW: Final = 30
_POINT_COUNT: Final = 68


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
    Return MuseTalk's crop box.

    It extends as far above the middle of the nose as the face extends below it.

    Args:
        points:       (68, 2) float32 iBUG points in pixels.
        width:        of the picture in pixels.
        height:       of the picture in pixels.
        bbox_shift:   v1: pixels by which the middle moves down; see `shift_range`.
        extra_margin: v1.5: pixels added at the bottom, inside the picture; None adds nothing.
        detected:     the face detector's box, used if the points give none.
        parity:       return the original's box, bit for bit: points are truncated towards zero, no clipping
                      at the right and the bottom, the detector's box also if the points leave the picture
                      at the left, and no box without a detected one. Its crop and its paste then disagree
                      where it leaves the picture.

    Returns:
        One box for cropping and pasting, inside the picture (unless `parity`); empty if neither points nor
        detector give one.

    Raises:
        InputError: `points` has another shape.
    """
    if points.shape != (_POINT_COUNT, 2):
        raise InputError(f"expected {_POINT_COUNT} points of shape ({_POINT_COUNT}, 2), not {points.shape}")
    points_px = _to_integers(points, parity)
    box = _box_from_points(points_px, bbox_shift)
    if parity:
        if detected is None:
            return Box(0, 0, 0, 0)
        if box.is_empty or box.x1 < 0:  # parity: "error bbox" in musetalk/utils/preprocessing.py
            box = detected
        return _with_margin(box, height, extra_margin)
    clipped_box = box.clip(width, height)
    if clipped_box.is_empty and detected is not None:
        clipped_box = detected.clip(width, height)
    return clipped_box if clipped_box.is_empty else _with_margin(clipped_box, height, extra_margin)


def shift_range(points: Float) -> tuple[int, int]:
    """
    Return the useful range of `bbox_shift`: one step of the nose bridge up and down.

    The original prints it as `[-a~b]`. It does not depend on the current shift.

    Args:
        points: (T, 68, 2) float32 iBUG points in pixels, only of frames with a face.

    Returns:
        The lowest and the highest value, (-a, b).

    Raises:
        NoFaceFound: T is 0.
    """
    if len(points) == 0:
        raise NoFaceFound("no face in any frame, so bbox_shift has no range")
    heights = _to_integers(points, parity=True)[..., 1]
    up = np.mean(heights[:, _NOSE_LOW] - heights[:, _NOSE_MIDDLE])
    down = np.mean(heights[:, _NOSE_MIDDLE] - heights[:, _BRIDGE_LOW])
    return -int(up), int(down)


def _to_integers(points: npt.NDArray[np.floating], parity: bool) -> Ints:
    return (points if parity else np.floor(points)).astype(np.int64)  # the cast alone truncates towards zero


def _box_from_points(points_px: Ints, bbox_shift: int) -> Box:
    heights = points_px[:, 1].copy()
    middle = heights[_NOSE_MIDDLE] = int(heights[_NOSE_MIDDLE]) + bbox_shift
    bottom = int(heights.max())
    top = max(0, middle - (bottom - middle))
    return Box(int(points_px[:, 0].min()), top, int(points_px[:, 0].max()), bottom)


def _with_margin(box: Box, height: int, margin: int | None) -> Box:
    return box if margin is None else Box(box.x1, box.y1, box.x2, min(box.y2 + margin, height))
