"""Drawing the mouth opening, and the line between nearly closed lips, over the warped crop."""

from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.motion_field import curve_bounds
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.mouth_interior import MouthOpening, draw_mouth_interior
from musetalk_core.engines.viseme.numeric import smoothstep_scalar
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid, blur_mask, fill_between_curves
from musetalk_core.engines.viseme.teeth import TeethReference, align_teeth
from musetalk_core.engines.viseme.warp_field import WarpField
from musetalk_core.types import Box, Float

_MARGIN: Final = 0.03
_MIN_BLUR_PX: Final = 0.5
"""Smallest blur of the opening's edge: no camera produces a sharper one."""
_SMALL_FACE_PX, _MEDIUM_FACE_PX = 110, 220
"""Face heights. Below the first, everything is drawn at three times the crop's density; below the second,
only the edge of the opening is, at twice the density."""
_HALF_LINE_THICKNESS: Final = np.outer(
    np.sqrt(np.clip(1 - np.linspace(-1, 1, 11) ** 2, 0.1, 1)), [0, 0.0035]
).astype(np.float32)
"""Half the thickness of the line between the lips, in face units."""


def opening_bounds(warp: WarpField) -> Box:
    """Return the rectangle of the crop in which the opening may be drawn; may be empty."""
    return curve_bounds(warp, [warp.shape.upper, warp.shape.lower], _MARGIN)


def paint_opening(picture: Float, area: Box, warp: WarpField, teeth: TeethReference | None) -> None:
    """
    Draw the mouth opening and the lip line into a picture.

    Args:
        picture: (h, w, 3) float32 BGR levels of `area`; modified in place.
        area:    in the crop.
        warp:    the mouth and its target shape.
        teeth:   real teeth of the clip; None if it shows none.
    """
    mouth, shape = warp.mouth, warp.shape
    opening_alpha = smoothstep_scalar(shape.gap / 0.012) * mouth.motion_share
    line_alpha = (
        (1 - smoothstep_scalar(shape.gap / 0.025))
        * 0.42
        * mouth.motion_share
        * (0.15 + 0.85 * mouth.edges.openness)
    )
    if min(area.size) < 2 or max(opening_alpha, line_alpha) <= 0:
        return
    scale = 3 if mouth.pose.height < _SMALL_FACE_PX else 1
    grid = SamplingGrid(area, area.size[0] * scale, area.size[1] * scale)
    opening, line = None, None
    if opening_alpha > 0:
        mask = fill_between_curves(grid, mouth.pose, shape.upper, shape.lower, _supersampling(mouth))
        soft_mask = blur_mask(mask, grid, mouth.pose, max(0.0035, _MIN_BLUR_PX / mouth.pose.height))
        opening = MouthOpening(mask, soft_mask * np.float32(opening_alpha), align_teeth(grid, mouth, teeth))
    if line_alpha > 0:
        line = _lip_line_mask(grid, warp) * np.float32(line_alpha)
    if not warp.can_change_everywhere(area):
        change_mask = warp.change_mask(grid)
        opening = None if opening is None else replace(opening, alpha=opening.alpha * change_mask)
        line = None if line is None else line * change_mask
    colours = draw_mouth_interior(grid, mouth, shape, opening, line)
    if scale > 1:
        colours = np.asarray(cv2.resize(colours, area.size, interpolation=cv2.INTER_AREA), np.float32)
    blue, green, red, alpha = cv2.split(colours)
    picture *= 1 - cv2.merge([alpha, alpha, alpha])
    picture += cv2.merge([blue, green, red])


def _supersampling(mouth: Mouth) -> int:
    return 2 if _SMALL_FACE_PX <= mouth.pose.height < _MEDIUM_FACE_PX else 1


def _lip_line_mask(grid: SamplingGrid, warp: WarpField) -> Float:
    pose, shape = warp.mouth.pose, warp.shape
    middle = (shape.upper + shape.lower) * np.float32(0.5)
    line = fill_between_curves(
        grid, pose, middle - _HALF_LINE_THICKNESS, middle + _HALF_LINE_THICKNESS, _supersampling(warp.mouth)
    )
    return blur_mask(line, grid, pose, 0.003)
