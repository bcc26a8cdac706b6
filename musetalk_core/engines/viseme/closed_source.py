"""
The source's lips without its opening: teeth and darkness between them are replaced by lip colors.

The mesh places the corners of an open mouth too far inside, and its lip edges are not exact. Whatever the
source shows between its lips would stay visible beside the new mouth, as dark hooks at the corners and as
specks of teeth.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.engine_protocol import FaceFrame
from musetalk_core.engines.viseme.grain import grain_tile
from musetalk_core.engines.viseme.lip_colours import extend_colours, lip_zone, opening_weight, opening_zone
from musetalk_core.engines.viseme.mouth import Mouth, measure_mouth
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid
from musetalk_core.engines.viseme.soft_masks import blur_mask
from musetalk_core.engines.viseme.warp_field import WarpField
from musetalk_core.types import Box, Float

_MARGIN: Final = 0.05
_SPREAD_SIGMA: Final = 0.014
"""How far lip colors are extended into the opening, in H."""
_MIXED_WIDTH: Final = 0.007
"""Width of the border of the opening in which a camera mixes its colors with the lips', in H."""
_SKIN_SHARE: Final = 0.04
_DIMPLE_RADII, _DIMPLE_OFFSET = (0.034, 0.022), 0.014
_MIN_OPENNESS: Final = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class ClosedSource:
    """
    Lip colors for the opening of a source mouth.

    Attributes:
        area:    in the crop.
        colours: (h, w, 3) float32 BGR levels, where `weight` is above 0.
        weight:  (h, w) float32, 0 = keep the source's pixel .. 1 = replace it.
    """

    area: Box
    colours: Float
    weight: Float


@lru_cache(maxsize=4)
def close_source(face: FaceFrame, row: bytes) -> ClosedSource | None:
    """
    Return the lip colors for the opening of a source frame; cached, so a still costs this once.

    Args:
        face: the source frame.
        row:  (34,) float32 as bytes, its smoothed features.

    Returns:
        None if its mouth is closed or outside the crop.
    """
    mouth = measure_mouth(face, np.frombuffer(row, np.float32))
    if mouth.edges.openness < _MIN_OPENNESS:
        return None
    corners = mouth.pose.to_pixels(np.vstack([mouth.upper_outer, mouth.lower_outer]))
    margin = _MARGIN * mouth.pose.height
    low, high = np.floor(corners.min(axis=0) - margin), np.ceil(corners.max(axis=0) + margin)
    area = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clip(*face.box.size)
    if min(area.size) < 4:
        return None
    grid = SamplingGrid(area, *area.size)
    picture = np.asarray(face.crop[area.slices()], np.float32)
    smooth_picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.float32)
    zone = blur_mask(opening_zone(grid, mouth), grid, mouth.pose, 0.006)
    opening = opening_weight(smooth_picture, mouth) * zone
    # pixels beside the opening are mixed with it
    side = 1 + 2 * max(1, round(_MIXED_WIDTH * mouth.pose.height))
    spread = np.asarray(cv2.dilate(opening, np.ones((side, side), np.uint8)), np.float32)
    weight = np.minimum(1.3 * blur_mask(spread, grid, mouth.pose, 0.004), 1) * np.float32(mouth.edges.openness)
    weight = np.maximum(weight, _corner_weight(grid, mouth))
    # the opening gets colors of the lips; those of the skin count where no lip is near
    known = np.clip(1 - 1.5 * weight, 0, 1) * (_SKIN_SHARE + (1 - _SKIN_SHARE) * lip_zone(grid, mouth))
    colours = extend_colours(picture, known, _SPREAD_SIGMA * mouth.pose.height)
    colours += grain_tile(mouth.record.grain, face.index, *area.size)[..., None]
    return ClosedSource(area, colours, weight.astype(np.float32))


def _corner_weight(grid: SamplingGrid, mouth: Mouth) -> Float:
    """
    Return (rows, columns) float32 0..1: the dimples beside the corners of a smile.

    The new corners are farther inside; the dimples would be stretched to lines between them and the cheeks.
    """
    marks = np.zeros((grid.rows, grid.columns), np.uint8)
    unit = mouth.pose.height
    axes = round(_DIMPLE_RADII[0] * unit), round(_DIMPLE_RADII[1] * unit)
    angle = float(np.degrees(np.arctan2(mouth.pose.axes[0, 1], mouth.pose.axes[0, 0])))
    for corner, side in ((mouth.upper_outer[0], -1), (mouth.upper_outer[10], 1)):
        place = corner + np.array([side * _DIMPLE_OFFSET, 0], np.float32)
        x, y = grid.to_cells(mouth.pose.to_pixels(place[None]))[0]
        cv2.ellipse(marks, (round(float(x)), round(float(y))), axes, angle, 0, 360, 255, -1, cv2.LINE_AA)
    soft = blur_mask(marks.astype(np.float32) / 255, grid, mouth.pose, 0.008)
    return soft * np.float32(mouth.smile_strength * mouth.edges.openness)


def replace_opening(source: Float, area: Box, closed: ClosedSource, warp: WarpField) -> None:
    """
    Replace the source's opening by lip colors.

    Args:
        source: (h, w, 3) float32 BGR levels of `area`; modified in place.
        area:   in the crop.
        closed: the lip colors.
        warp:   of the frame.
    """
    part = closed.area.intersection(area)
    if part.is_empty:
        return
    weight = closed.weight[_inside(part, closed.area)] * np.float32(warp.mouth.motion_share)
    if not warp.can_change_everywhere(part):
        weight = weight * warp.change_mask(SamplingGrid(part, *part.size))
    window = source[_inside(part, area)]
    window += (closed.colours[_inside(part, closed.area)] - window) * weight[..., None]


def _inside(part: Box, area: Box) -> tuple[slice, slice]:
    return (
        slice(part.y1 - area.y1, part.y2 - area.y1),
        slice(part.x1 - area.x1, part.x2 - area.x1),
    )
