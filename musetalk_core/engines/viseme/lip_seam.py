"""Antialiasing along the lip seam, where the displacement is discontinuous; needed in small faces only."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.motion_field import border_ramp, lip_bounds
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid
from musetalk_core.engines.viseme.warp_field import WarpField
from musetalk_core.types import Box, Float

_SMALL_FACE_PX, _MEDIUM_FACE_PX = 110, 220
"""Face heights: below the first, the whole lip area is supersampled; below the second, the opening only;
above, nothing."""
_MAX_VISIBLE_GAP: Final = 0.03
"""From this gap on, the opening is drawn over the seam; only lips of small faces are supersampled then."""
_BLEND_WIDTH: Final = 0.01
"""Width of the transition to the rest of the picture, in H."""


def smooth_seam(picture: Float, source: Float, area: Box, warp: WarpField, opening: Box) -> None:
    """
    Redraw the lip area or the opening from a supersampled displacement; large faces are left unchanged.

    Args:
        picture: (h, w, 3) float32 BGR, the displaced levels of `area`; modified in place.
        source:  (h, w, 3) float32 BGR, the source levels of `area`.
        area:    in the crop.
        warp:    the two fields.
        opening: rectangle around the inner lips.
    """
    if warp.mouth.pose.height >= _MEDIUM_FACE_PX:
        return
    is_small = warp.mouth.pose.height < _SMALL_FACE_PX
    if not is_small and warp.shape.gap * warp.mouth.motion_share >= _MAX_VISIBLE_GAP:
        return
    redrawn_area, supersampling, columns, rows = (
        (lip_bounds(warp), 3, 20, 14) if is_small else (opening, 2, 16, 6)
    )
    if min(redrawn_area.size) < 4:
        return
    pixel_grid = SamplingGrid(redrawn_area, *redrawn_area.size)
    fine_grid = pixel_grid.with_cells(supersampling * pixel_grid.columns, supersampling * pixel_grid.rows)
    # displacement -> absolute source positions in `source`
    source_positions = warp.displacement(fine_grid, columns, rows)
    x, y = fine_grid.sample_positions()
    source_positions[..., 0] += x - np.float32(area.x1)
    source_positions[..., 1] += (y - np.float32(area.y1))[:, None]
    supersampled = cv2.remap(source, source_positions, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]  OpenCV's stub requires map2, which is optional
    smooth = cv2.resize(supersampled, redrawn_area.size, interpolation=cv2.INTER_AREA)
    new_weight, old_weight = border_ramp(
        redrawn_area.size, max(2, round(_BLEND_WIDTH * warp.mouth.pose.height))
    )
    if not warp.can_change_everywhere(redrawn_area):
        new_weight = new_weight * warp.change_mask(pixel_grid)
        old_weight = 1 - new_weight
    window = picture[
        redrawn_area.y1 - area.y1 : redrawn_area.y2 - area.y1,
        redrawn_area.x1 - area.x1 : redrawn_area.x2 - area.x1,
    ]
    np.copyto(window, cv2.blendLinear(smooth, window, new_weight, old_weight))
