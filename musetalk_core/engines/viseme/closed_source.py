"""
The source's lips without its opening: teeth and darkness between them are replaced by lip colors.

The mesh places the corners of an open mouth too far inside, and its lip edges are not exact. Whatever the
source shows between its lips would stay visible beside the new mouth, as dark hooks at the corners and as
specks of teeth.
"""

from functools import lru_cache
from math import atan2, degrees
from typing import Final

import cv2
import numpy as np

from musetalk_core.engine_protocol import FaceFrame
from musetalk_core.engines.viseme.grain import grain_tile
from musetalk_core.engines.viseme.lip_colours import extend_colours, lip_zone, opening_weight, opening_zone
from musetalk_core.engines.viseme.mouth import Mouth, measure_mouth
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid, blur_mask
from musetalk_core.engines.viseme.warp_field import can_change_everywhere, change_mask
from musetalk_core.types import Box, Float

_MARGIN: Final = 0.05
_MAX_PIXELS_PER_H: Final = 100
"""Masks and lip colors are computed at this density: they have no finer detail."""
_SPREAD_SIGMA: Final = 0.014
"""How far lip colors are extended into the opening, in H."""
_MIXED_WIDTH: Final = 0.007
"""Width of the border of the opening in which a camera mixes its colors with the lips', in H."""
_OTHER_SHARE: Final = 0.04
"""Weight of skin where lip colors are extended, and of lips where skin colors are."""
_LIP_BORDER: Final = 0.015
"""How far lips, or their make-up, may extend beyond the mesh, in H."""
_CORNERS: Final = slice(0, 11, 10)
_DIMPLE_RADII: Final = 0.034, 0.022
_DIMPLE_OFFSETS: Final = np.array([[-0.014, 0], [0.014, 0]], np.float32)
_SHARPENING, _SHARPENING_PER_GAP, _MAX_SHARPENING = 0.3, 2.0, 0.55
_SHARPENED_SIGMA: Final = 0.025
_FINEST_SIDE, _COARSEST_SIDE = 0.012, 0.04
"""
Lips and skin around them are sharpened: they are stretched when an open or smiling mouth closes, the more the
wider it is open. Only detail between the two sizes, in H, is amplified: finer detail is noise and remains of
a compression, which would become streaks.
"""
_MIN_OPENNESS: Final = 0.05


@lru_cache(maxsize=4)
def close_source(face: FaceFrame, row: bytes) -> Float:
    """
    Return the levels of a source crop with its mouth closed; cached, so a still costs this once.

    Args:
        face: the source frame.
        row:  (34,) float32 as bytes, its smoothed features.

    Returns:
        (h, w, 3) float32 BGR, not to be modified. Pixels away from the lips keep their levels.
    """
    levels = np.asarray(face.crop, np.float32)
    mouth = measure_mouth(face, np.frombuffer(row, np.float32))
    openness = mouth.edges.openness * mouth.motion_share
    points = mouth.pose.to_pixels(np.vstack([mouth.upper_outer, mouth.lower_outer]))
    margin = _MARGIN * mouth.pose.height
    low, high = np.floor(points.min(axis=0) - margin), np.ceil(points.max(axis=0) + margin)
    area = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clip(*face.box.size)
    if openness < _MIN_OPENNESS or min(area.size) < 4:
        return levels
    scale = min(1.0, _MAX_PIXELS_PER_H / mouth.pose.height)
    grid = SamplingGrid(area, *(max(4, round(n * scale)) for n in area.size))
    size = grid.columns, grid.rows
    picture = face.crop[area.slices()]
    fine, coarse = (
        cv2.blur(picture, (side, side))
        for side in (_odd_side(share * mouth.pose.height) for share in (_FINEST_SIDE, _COARSEST_SIDE))
    )
    small = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_LINEAR), np.float32)
    opening = _opening(small, grid, mouth)
    lips = lip_zone(grid, mouth)
    cells_per_h = mouth.pose.height * grid.columns / area.size[0]
    colours = _colours_of_closed_mouth(small, opening, lips, cells_per_h)
    around = np.minimum(2 * blur_mask(lips, grid, mouth.pose, _SHARPENED_SIGMA), 1)
    weights = [opening, around]
    if not can_change_everywhere(mouth, face.box.size, area):
        allowed = change_mask(mouth, face.box.size, grid)
        weights = [weight * allowed for weight in weights]
    replaced, sharpened = (
        np.asarray(cv2.resize(weight * np.float32(openness), area.size), np.float32) for weight in weights
    )
    colours = np.asarray(cv2.resize(colours, area.size), np.float32)
    colours += cv2.merge([grain_tile(mouth.record.grain, face.index, *area.size)] * 3)
    window = levels[area.slices()]
    detail = cv2.subtract(fine, coarse, dtype=cv2.CV_32F)
    sharpened *= np.float32(min(_MAX_SHARPENING, _SHARPENING + _SHARPENING_PER_GAP * mouth.edges.gap))
    sharp = cv2.add(window, cv2.multiply(detail, cv2.merge([sharpened] * 3)))
    np.copyto(window, cv2.blendLinear(colours, sharp, replaced, 1 - replaced))
    return levels


def _colours_of_closed_mouth(picture: Float, opening: Float, lips: Float, cells_per_h: float) -> Float:
    """
    Return (rows, columns, 3) float32: lip colors between the lips, skin colors beside their corners.

    Args:
        picture:     (rows, columns, 3) float32 BGR levels.
        opening:     (rows, columns) float32 0..1, what is replaced.
        lips:        (rows, columns) float32 0..1, lips and opening.
        cells_per_h: cells per face height.
    """
    certain = np.clip(1 - 1.5 * opening, 0, 1)
    side = 1 + 2 * max(1, round(_LIP_BORDER * cells_per_h))
    wide = cv2.GaussianBlur(cv2.dilate(lips, np.ones((side, side), np.uint8)), (0, 0), side / 4)
    sigma = _SPREAD_SIGMA * cells_per_h
    # colors of the other kind count where none of the own is near
    of_lips, of_skin = (
        extend_colours(
            picture, (certain * (_OTHER_SHARE + (1 - _OTHER_SHARE) * share)).astype(np.float32), sigma
        )
        for share in (lips, 1 - wide)
    )
    soft = cv2.GaussianBlur(lips, (0, 0), max(0.4, _MIXED_WIDTH * cells_per_h / 2))
    return np.asarray(cv2.blendLinear(of_lips, of_skin, soft, 1 - soft), np.float32)


def _odd_side(pixels: float) -> int:
    """Return the side of a box blur, odd, at least 1."""
    return 1 + 2 * max(0, round((pixels - 1) / 2))


def _opening(picture: Float, grid: SamplingGrid, mouth: Mouth) -> Float:
    """Return (rows, columns) float32: 0 = lip or skin .. 1 = opening, border of the opening or dimple."""
    zone = blur_mask(opening_zone(grid, mouth), grid, mouth.pose, 0.006)
    opening = opening_weight(picture, mouth) * zone
    # pixels beside the opening are mixed with it
    cells_per_h = mouth.pose.height * grid.columns / grid.area.size[0]
    side = 1 + 2 * max(1, round(_MIXED_WIDTH * cells_per_h))
    spread = np.asarray(cv2.dilate(opening, np.ones((side, side), np.uint8)), np.float32)
    weight = np.minimum(1.3 * blur_mask(spread, grid, mouth.pose, 0.004), 1)
    return np.maximum(weight, _dimple_weight(grid, mouth)).astype(np.float32)


def _dimple_weight(grid: SamplingGrid, mouth: Mouth) -> Float:
    """
    Return (rows, columns) float32 0..1: the dimples beside the corners of a smile.

    The new corners are farther inside; the dimples would be stretched to lines between them and the cheeks.
    """
    marks = np.zeros((grid.rows, grid.columns), np.uint8)
    if mouth.smile_strength <= 0:
        return marks * np.float32(0)
    cells_per_h = mouth.pose.height * grid.columns / grid.area.size[0]
    axes = max(1, round(_DIMPLE_RADII[0] * cells_per_h)), max(1, round(_DIMPLE_RADII[1] * cells_per_h))
    angle = degrees(atan2(float(mouth.pose.axes[0, 1]), float(mouth.pose.axes[0, 0])))
    places = mouth.upper_outer[_CORNERS] + _DIMPLE_OFFSETS
    for x, y in grid.to_cells(mouth.pose.to_pixels(places)).tolist():
        cv2.ellipse(marks, (round(x), round(y)), axes, angle, 0, 360, 255, -1, cv2.LINE_AA)
    soft = blur_mask(marks * np.float32(1 / 255), grid, mouth.pose, 0.008)
    return soft * np.float32(mouth.smile_strength)
