"""Telling lips, teeth and the dark of a mouth apart by their colors, in one source frame."""

import cv2
import numpy as np

from musetalk_core.engines.viseme import numeric
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.numeric import smoothstep
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid, fill_between_curves
from musetalk_core.types import Float

_UPPER_REACH, _LOWER_REACH = 0.5, 0.7
"""How far into the lips, as a share of their thickness, the opening may extend: the mesh is not exact."""
_CORNER_REACH, _CORNER_HEIGHT = 0.032, 0.024
"""
How far beyond the outer corners of the mesh it may extend, and half its height there, in H: open mouths are
dark up to there.
"""


def _zone_weights() -> Float:
    """Return (26, 108) float32: two curves of 13 points from the control points of a mouth."""
    out = np.zeros((2, 13, numeric.POINT_COUNT), np.float32)
    sides = (
        (numeric.UPPER_INNER, numeric.UPPER_OUTER, _UPPER_REACH),
        (numeric.LOWER_INNER, numeric.LOWER_OUTER, _LOWER_REACH),
    )
    for curve, (inner, outer, reach) in zip(out, sides, strict=True):
        points = np.arange(11)
        curve[1 + points, inner.start + points] = 1 - reach
        curve[1 + points, outer.start + points] = reach
        curve[0, numeric.UPPER_OUTER.start] = curve[12, numeric.UPPER_OUTER.stop - 1] = 1
    return out.reshape(26, numeric.POINT_COUNT)


def _zone_offsets() -> Float:
    """Return (26, 2) float32: where the ends of the curves are, from the corners of the mouth."""
    out = np.zeros((2, 13, 2), np.float32)
    for curve, y in zip(out, (-_CORNER_HEIGHT, _CORNER_HEIGHT), strict=True):
        curve[0], curve[12] = (-_CORNER_REACH, y), (_CORNER_REACH, y)
    return out.reshape(26, 2)


_ZONE_WEIGHTS, _ZONE_OFFSETS = _zone_weights(), _zone_offsets()


def opening_zone(grid: SamplingGrid, mouth: Mouth) -> Float:
    """Return (rows, columns) float32 0..1: where pixels may belong to the source's opening."""
    upper, lower = (_ZONE_WEIGHTS @ mouth.control_points + _ZONE_OFFSETS).reshape(2, 13, 2)
    return fill_between_curves(grid, mouth.pose, upper, lower)


def lip_zone(grid: SamplingGrid, mouth: Mouth) -> Float:
    """Return (rows, columns) float32 0..1: lips and opening."""
    return fill_between_curves(grid, mouth.pose, mouth.upper_outer, mouth.lower_outer)


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
    small = cv2.resize(cv2.merge([*cv2.split(premultiplied), weight]), size, interpolation=cv2.INTER_LINEAR)
    near = cv2.GaussianBlur(small, (0, 0), 1.0)
    # where no known pixel is near, those farther away count
    near += np.float32(0.02) * cv2.GaussianBlur(small, (0, 0), 4.0)
    # blurred colors divided by blurred weights: a normalized average of known pixels
    average = near[..., :3] / np.maximum(near[..., 3:], 1e-5)
    extended = cv2.resize(average, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.blendLinear(picture, extended, weight, 1 - weight), np.float32)
