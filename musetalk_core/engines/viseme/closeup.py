"""The lips and what is between them, drawn at a higher density than the crop's so that edges stay smooth."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.inside import inside
from musetalk_core.engines.viseme.masks import blurred, filled
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.raster import Raster, sampled
from musetalk_core.engines.viseme.shape import Shape
from musetalk_core.engines.viseme.steps import smooth01, step
from musetalk_core.engines.viseme.teeth import Donor, borrowed
from musetalk_core.engines.viseme.warp import Warp
from musetalk_core.types import Box, Float, Image

_PAD: Final = 0.06
_INNER_PAD: Final = 0.03
_COLUMNS, _ROWS = 20, 14
_LENS_PX: Final = 0.5
"""No camera draws a sharper edge than this."""
_GROWN: Final = np.array([0, 0.02], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class CloseUp:
    """
    A rectangle of the new crop.

    Attributes:
        area:   where in the crop.
        pixels: (h, w, 3) uint8 BGR.
        weight: (h, w) float32: 1 at the lips, 0 at the rectangle's border.
    """

    area: Box
    pixels: Image
    weight: Float


def density(height: float) -> int:
    """Give the number of samples per pixel and axis for a face of `height` pixels."""
    return 3 if height < 110 else 2 if height < 220 else 1


def closeup(crop: Image, warp: Warp, moving: Float, donor: Donor | None) -> CloseUp | None:
    """
    Draw the lips.

    Args:
        crop:    (h, w, 3) uint8 BGR, the source.
        warp:    its motion.
        moving:  (h, w) float32, 0 where the source's bytes stay.
        donor:   whose teeth to show.

    Returns:
        None where the mouth lies outside the crop.
    """
    mouth, shape = warp.mouth, warp.shape
    area = _area(warp, [mouth.upper_outer, mouth.lower_outer, shape.upper, shape.lower], _PAD)
    if min(area.size) < 4:
        return None
    scale = density(mouth.pose.height)
    raster = Raster(area, area.size[0] * scale, area.size[1] * scale)
    pixels = _remapped(crop, raster, warp.shift(raster, _COLUMNS, _ROWS))
    _paint(pixels, raster, scale, warp, donor)
    if scale > 1:
        pixels = np.asarray(cv2.resize(pixels, area.size, interpolation=cv2.INTER_AREA), np.uint8)
    return CloseUp(area, pixels, _weight(raster.over(*area.size), warp, moving[area.slices()]))


def _area(warp: Warp, curves: list[Float], pad: float) -> Box:
    points = warp.mouth.pose.pixels(np.vstack(curves))
    margin = pad * warp.mouth.pose.height
    low, high = np.floor(points.min(axis=0) - margin), np.ceil(points.max(axis=0) + margin)
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clipped(*warp.size)


def _remapped(crop: Image, raster: Raster, shift: Float) -> Image:
    x, y = raster.positions()
    shift[..., 0] += x
    shift[..., 1] += y[:, None]
    return sampled(crop, shift, cv2.INTER_CUBIC)


def _weight(raster: Raster, warp: Warp, moving: Float) -> Float:
    mouth, shape = warp.mouth, warp.shape
    lips = filled(raster, mouth.pose, shape.upper - _GROWN, shape.lower + _GROWN)
    lips = blurred(lips, raster, mouth.pose, 0.010)
    x, y = np.arange(raster.columns), np.arange(raster.rows)
    edge = np.minimum.outer(np.minimum(y, y[::-1]), np.minimum(x, x[::-1]))
    border = smooth01(edge / max(2.0, 0.03 * mouth.pose.height))
    return np.maximum(np.minimum(lips * 1.1, 1) * warp.free(raster), moving) * border


def _paint(pixels: Image, raster: Raster, scale: int, warp: Warp, donor: Donor | None) -> None:
    """Draw the opening and the lip line into the rectangle around the inner lips."""
    mouth, shape = warp.mouth, warp.shape
    area = _area(warp, [shape.upper, shape.lower], _INNER_PAD)
    if min(area.size) < 2:
        return
    inner = Raster(area, area.size[0] * scale, area.size[1] * scale)
    left, top = (area.x1 - raster.area.x1) * scale, (area.y1 - raster.area.y1) * scale
    window = pixels[max(top, 0) : top + inner.rows, max(left, 0) : left + inner.columns]
    if window.shape[:2] != (inner.rows, inner.columns):
        return
    part = window.astype(np.float32)
    opened = step(shape.gap / 0.012) * mouth.motion
    if opened > 0:
        mask = filled(inner, mouth.pose, shape.upper, shape.lower)
        new = inside(mouth, shape, inner, mask, borrowed(inner, mouth, donor))
        soft = max(0.0035, _LENS_PX / mouth.pose.height)
        part += (blurred(mask, inner, mouth.pose, soft) * opened)[..., None] * (new - part)
    _line(part, inner, mouth, shape)
    np.copyto(window, np.clip(part + 0.5, 0, 255).astype(np.uint8))


def _line(part: Float, raster: Raster, mouth: Mouth, shape: Shape) -> None:
    """Darken the line between nearly closed lips: a mouth that was open has none of its own."""
    dark = (1 - step(shape.gap / 0.025)) * 0.42 * mouth.motion * (0.15 + 0.85 * mouth.edges.parted)
    if dark <= 0:
        return
    across = np.sqrt(np.clip(1 - np.linspace(-1, 1, 11) ** 2, 0.1, 1))[:, None]
    half = (0.0035 * across * np.array([0, 1])).astype(np.float32)
    middle = ((shape.upper + shape.lower) / 2).astype(np.float32)
    line = blurred(filled(raster, mouth.pose, (middle - half), (middle + half)), raster, mouth.pose, 0.003)
    part += (np.minimum(line, 1) * dark)[..., None] * (mouth.record.lip * np.float32(0.42) - part)
