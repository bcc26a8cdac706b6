"""Antialiasing along the lip seam, where the displacement is discontinuous; needed in small faces only."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.motion import border, lips_of
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.warp import Warp
from musetalk_core.types import Box, Float

_TINY_PX, _SMALL_PX = 110, 220
"""Face heights: below the first, the whole lip area is supersampled; below the second, the opening only;
above, nothing."""
_RAMP: Final = 0.01
"""Width of the transition to the rest of the picture, in H."""


def smooth_seam(picture: Float, source: Float, area: Box, warp: Warp, opening: Box) -> None:
    """
    Redraw the lip area or the opening from a supersampled displacement; large faces are left unchanged.

    Args:
        picture: (h, w, 3) float32 BGR, the displaced levels of `area`; modified in place.
        source:  (h, w, 3) float32 BGR, the source levels of `area`.
        area:    in the crop.
        warp:    the two fields.
        opening: rectangle around the inner lips.
    """
    if warp.mouth.pose.height >= _SMALL_PX:
        return
    tiny = warp.mouth.pose.height < _TINY_PX
    place, finer, columns, rows = (lips_of(warp), 3, 20, 14) if tiny else (opening, 2, 16, 6)
    if min(place.size) < 4:
        return
    coarse = Raster(place, *place.size)
    raster = coarse.over(finer * coarse.columns, finer * coarse.rows)
    # displacement -> absolute source positions in `source`
    places = warp.shift(raster, columns, rows)
    x, y = raster.positions()
    places[..., 0] += x - np.float32(area.x1)
    places[..., 1] += (y - np.float32(area.y1))[:, None]
    fine = cv2.remap(source, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]  OpenCV's stub requires map2, which is optional
    smooth = cv2.resize(fine, place.size, interpolation=cv2.INTER_AREA)
    used, kept = border(place.size, max(2, round(_RAMP * warp.mouth.pose.height)))
    if not warp.is_free(place):
        used = used * warp.free(coarse)
        kept = 1 - used
    window = picture[place.y1 - area.y1 : place.y2 - area.y1, place.x1 - area.x1 : place.x2 - area.x1]
    np.copyto(window, cv2.blendLinear(smooth, window, used, kept))
