"""Drawing the mouth opening, and the line between nearly closed lips, over the warped crop."""

from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.inside import Hole, drawn
from musetalk_core.engines.viseme.masks import blurred, filled
from musetalk_core.engines.viseme.motion import outline
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.steps import step
from musetalk_core.engines.viseme.teeth import Teeth, borrowed
from musetalk_core.engines.viseme.warp import Warp
from musetalk_core.types import Box, Float

_PAD: Final = 0.03
_LENS_PX: Final = 0.5
"""Smallest blur of the opening's edge: no camera produces a sharper one."""
_SMALL_PX, _FINE_PX = 110, 220
"""Face heights. Below the first, everything is drawn at three times the crop's density; below the second,
only the edge of the opening is, at twice the density."""
_LINE: Final = np.outer(np.sqrt(np.clip(1 - np.linspace(-1, 1, 11) ** 2, 0.1, 1)), [0, 0.0035]).astype(
    np.float32
)
"""Half the thickness of the line between the lips, in face units."""


def place_of(warp: Warp) -> Box:
    """Return the rectangle of the crop in which the opening may be drawn; may be empty."""
    return outline(warp, [warp.shape.upper, warp.shape.lower], _PAD)


def paint_opening(picture: Float, area: Box, warp: Warp, teeth: Teeth | None) -> None:
    """
    Draw the mouth opening and the lip line into a picture.

    Args:
        picture: (h, w, 3) float32 BGR levels of `area`; modified in place.
        area:    in the crop.
        warp:    the mouth and its target shape.
        teeth:   real teeth of the clip; None if it shows none.
    """
    mouth, shape = warp.mouth, warp.shape
    opened = step(shape.gap / 0.012) * mouth.motion
    dark = (1 - step(shape.gap / 0.025)) * 0.42 * mouth.motion * (0.15 + 0.85 * mouth.edges.parted)
    if min(area.size) < 2 or max(opened, dark) <= 0:
        return
    scale = 3 if mouth.pose.height < _SMALL_PX else 1
    raster = Raster(area, area.size[0] * scale, area.size[1] * scale)
    hole, line = None, None
    if opened > 0:
        mask = filled(raster, mouth.pose, shape.upper, shape.lower, _finer(mouth))
        soft = blurred(mask, raster, mouth.pose, max(0.0035, _LENS_PX / mouth.pose.height))
        hole = Hole(mask, soft * np.float32(opened), borrowed(raster, mouth, teeth))
    if dark > 0:
        line = _line(raster, warp) * np.float32(dark)
    if not warp.is_free(area):
        free = warp.free(raster)
        hole = None if hole is None else replace(hole, alpha=hole.alpha * free)
        line = None if line is None else line * free
    colours = drawn(raster, mouth, shape, hole, line)
    if scale > 1:
        colours = np.asarray(cv2.resize(colours, area.size, interpolation=cv2.INTER_AREA), np.float32)
    blue, green, red, alpha = cv2.split(colours)
    picture *= 1 - cv2.merge([alpha, alpha, alpha])
    picture += cv2.merge([blue, green, red])


def _finer(mouth: Mouth) -> int:
    return 2 if _SMALL_PX <= mouth.pose.height < _FINE_PX else 1


def _line(raster: Raster, warp: Warp) -> Float:
    pose, shape = warp.mouth.pose, warp.shape
    middle = (shape.upper + shape.lower) * np.float32(0.5)
    line = filled(raster, pose, middle - _LINE, middle + _LINE, _finer(warp.mouth))
    return blurred(line, raster, pose, 0.003)
