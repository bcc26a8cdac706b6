"""Telling lips, teeth and the dark of a mouth apart by their colors, in one source frame."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme import numeric
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.numeric import smoothstep
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid, fill_between_curves
from musetalk_core.types import Float

_UPPER_REACH, _LOWER_REACH = 0.5, 0.7
"""How far into the lips, as a share of their thickness, the opening may extend: the mesh is not exact."""
_CORNER_REACH: Final = 0.032
"""How far beyond the outer corners of the mesh it may extend, in H: open mouths are dark up to there."""


def opening_zone(grid: SamplingGrid, mouth: Mouth) -> Float:
    """Return (rows, columns) float32 0..1: where pixels may belong to the source's opening."""
    points = mouth.control_points
    upper = _between(points[numeric.UPPER_INNER], points[numeric.UPPER_OUTER], _UPPER_REACH)
    lower = _between(points[numeric.LOWER_INNER], points[numeric.LOWER_OUTER], _LOWER_REACH)
    left, right = points[numeric.UPPER_OUTER][[0, 10]]
    ends = [[left[0] - _CORNER_REACH, left[1]], [right[0] + _CORNER_REACH, right[1]]]
    height = np.array([0, 0.024], np.float32)

    def with_ends(curve: Float, side: int) -> Float:
        first, last = np.array([ends[0]], np.float32), np.array([ends[1]], np.float32)
        return np.concatenate([first + side * height, curve, last + side * height])

    return fill_between_curves(grid, mouth.pose, with_ends(upper, -1), with_ends(lower, 1))


def lip_zone(grid: SamplingGrid, mouth: Mouth) -> Float:
    """Return (rows, columns) float32 0..1: lips and opening."""
    return fill_between_curves(grid, mouth.pose, mouth.upper_outer, mouth.lower_outer)


def _between(inner: Float, outer: Float, share: float) -> Float:
    return (inner + share * (outer - inner)).astype(np.float32)


def opening_weight(picture: Float, mouth: Mouth) -> Float:
    """
    Return how certainly pixels belong to the opening.

    Args:
        picture: (rows, columns, 3) float32 BGR levels.
        mouth:   its colors.

    Returns:
        (rows, columns) float32: 0 for skin and lip colors .. 1 for teeth and dark areas.
    """
    blue, green, red = cv2.split(picture)
    brightest = np.asarray(cv2.max(cv2.max(blue, green), red), np.float32)
    darkest = np.asarray(cv2.min(cv2.min(blue, green), red), np.float32)
    skin, lip = _saturation(mouth.record.skin), _saturation(mouth.record.lip)
    min_saturation = np.float32(max(0.85 * skin, 0.5 * (0.6 * skin + lip)))
    # saturated and not dark: skin or lip
    saturation = (brightest - darkest) / np.maximum(brightest, 1)
    lip_weight = smoothstep(((saturation - min_saturation) * np.float32(1 / 0.08)).astype(np.float32))
    dark_limit = np.float32(0.45 * float(mouth.record.skin.max()))
    return 1 - lip_weight * smoothstep((brightest - dark_limit) * np.float32(1 / 40))


def tooth_weight(picture: Float, mouth: Mouth) -> Float:
    """
    Return how certainly pixels of an open mouth are teeth.

    Teeth in the shade are yellow, and as saturated as lips; but they are not red.

    Args:
        picture: (rows, columns, 3) float32 BGR levels.
        mouth:   its colors.

    Returns:
        (rows, columns) float32: 1 for teeth .. 0 for lips, gums, tongue and dark areas.
    """
    brightness = picture.mean(axis=2) / max(float(mouth.record.skin.mean()), 10.0)
    redness = (picture[..., 2] - picture[..., 1]) / np.maximum(picture[..., 2], 1)
    limit = 0.4 * _redness(mouth.record.skin) + 0.6 * _redness(mouth.record.lip)
    not_red = 1 - smoothstep(((redness - limit) / 0.08 + 0.5).astype(np.float32))
    return smoothstep((brightness - 0.28) / 0.2) * not_red


def _redness(colour: Float) -> float:
    return float(colour[2] - colour[1]) / max(float(colour[2]), 1.0)


def _saturation(colour: Float) -> float:
    return float(colour.max() - colour.min()) / max(float(colour.max()), 1.0)


def extend_colours(picture: Float, weight: Float, sigma: float) -> Float:
    """
    Replace pixels of low weight by the blurred colors of those beside them.

    Args:
        picture: (rows, columns, 3) float32 levels.
        weight:  (rows, columns) float32 0..1: 1 keeps the pixel.
        sigma:   how far colors are extended, in pixels; at least 2.

    Returns:
        (rows, columns, 3) float32.
    """
    rows, columns = weight.shape
    spread = max(2.0, sigma)
    size = max(1, round(columns / spread)), max(1, round(rows / spread))
    premultiplied = cv2.multiply(picture, cv2.merge([weight, weight, weight]))
    small = cv2.resize(cv2.merge([*cv2.split(premultiplied), weight]), size, interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(small, (0, 0), 1.0)
    # where no known pixel is near, those farther away count
    near += np.float32(0.02) * cv2.GaussianBlur(small, (0, 0), 4.0)
    # blurred colors divided by blurred weights: a normalized average of known pixels
    average = near[..., :3] / np.maximum(near[..., 3:], 1e-5)
    extended = cv2.resize(average, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.blendLinear(picture, extended, weight, 1 - weight), np.float32)
