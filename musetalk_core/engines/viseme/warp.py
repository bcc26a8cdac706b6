"""
The displacement of every pixel for a wanted shape, as a backward map.

One smooth field for all above the lip line and one for all below, joined along the line between the lips:
displacements are blended, never pictures, so a mouth cannot show twice.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme import thinplate
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.shape import Shape
from musetalk_core.engines.viseme.steps import smooth01
from musetalk_core.types import Box, Float

_LINE_REACH: Final = 1.0
_LINE_STEPS: Final = 2000
_RIM: Final = 0.035
"""Outer share of the crop that never moves."""
_NOSE: Final = 0.02
"""Motion begins this far under the nose base."""
_MIDDLE: Final = 64
_COARSE: Final = 16
_MOVES_PX: Final = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Both fields of one mouth and shape."""

    mouth: Mouth
    shape: Shape
    size: tuple[int, int]
    above: thinplate.ThinPlate
    below: thinplate.ThinPlate

    def shift(self, raster: Raster, columns: int, rows: int) -> Float:
        """
        Give the displacement on a raster.

        Args:
            raster:  where.
            columns: of the coarser grid on which the splines themselves are evaluated.
            rows:    of the same.

        Returns:
            (raster.rows, raster.columns, 2) float32, from each sample to its source, in crop pixels.
        """
        coarse = raster.over(min(columns, raster.columns), min(rows, raster.rows))
        x, y = coarse.local(self.mouth.pose)
        still = self._window(coarse, y)[..., None]
        to_pixels = self.mouth.pose.axes * np.float32(self.mouth.pose.height)
        size = raster.columns, raster.rows
        upper, lower = (
            cv2.resize((field.at(x, y) * still) @ to_pixels, size, interpolation=cv2.INTER_CUBIC)
            for field in (self.above, self.below)
        )
        share = self._below_line(raster)
        return np.asarray(cv2.blendLinear(lower, upper, share, 1 - share), np.float32)

    def free(self, raster: Raster) -> Float:
        """Give (rows, columns) float32: 1 where pixels may change, 0 at the rim and above the nose base."""
        _, y = raster.local(self.mouth.pose)
        rim = smooth01((self._edge(raster) - _RIM) / 0.03)
        return rim * smooth01((y - self.mouth.nose[1] - _NOSE) / 0.015)

    def _window(self, raster: Raster, y: Float) -> Float:
        """How much of the fields is used: fades out towards the rim and the nose base."""
        lip = float(self.mouth.upper_outer[5, 1] - self.mouth.nose[1])
        nose = smooth01((y - self.mouth.nose[1] - _NOSE) / max(0.03, 0.6 * lip))
        return nose * smooth01((self._edge(raster) - _RIM) / 0.10)

    def _edge(self, raster: Raster) -> Float:
        """(rows, columns) float32: distance to the crop's border as a share of its sides."""
        x, y = ((p + 0.5) / n for p, n in zip(raster.positions(), self.size, strict=True))
        return np.minimum.outer(np.minimum(y, 1 - y), np.minimum(x, 1 - x)).astype(np.float32)

    def _below_line(self, raster: Raster) -> Float:
        """(rows, columns) float32: 0 above the line between the lips .. 1 below; softer beside the mouth."""
        x, y = raster.local(self.mouth.pose)
        middle = (self.shape.upper + self.shape.lower) / 2
        knots = np.arange(_LINE_STEPS + 1) * (2 * _LINE_REACH / _LINE_STEPS) - _LINE_REACH
        line = np.interp(knots, middle[:, 0], middle[:, 1]).astype(np.float32)
        away = np.minimum(np.maximum(np.maximum(middle[0, 0] - knots, knots - middle[10, 0]), 0), 0.15)
        steep = (0.5 / (1e-7 + 0.8 * away)).astype(np.float32)
        at = ((x + _LINE_REACH) * (_LINE_STEPS / (2 * _LINE_REACH))).astype(np.int32)
        at = np.clip(at, 0, _LINE_STEPS)
        return smooth01((y - line[at]) * steep[at] + np.float32(0.5))


def warp_of(mouth: Mouth, shape: Shape, size: tuple[int, int]) -> Warp:
    """
    Fit both fields.

    Args:
        mouth: the source.
        shape: what it shall become.
        size:  (w, h) of the crop.
    """
    # Backward map: the splines sit where things shall be and say where they come from.
    above, below = (thinplate.fit(points + by, -by) for points, by in (shape.above, shape.below))
    return Warp(mouth, shape, size, above, below)


def whole_field(warp: Warp) -> tuple[Float, Float]:
    """
    Give the field over the whole crop, on a grid fine enough for all but the lips themselves.

    Returns:
        (rows, columns, 2) float32 displacements in crop pixels, and (rows, columns) float32, how far each
        place is in motion: 0 keeps the source's own bytes.
    """
    width, height = warp.size
    grid = Raster(
        Box(0, 0, width, height), max(2, min(_MIDDLE, width // 2)), max(2, min(_MIDDLE, height // 2))
    )
    shift = warp.shift(grid, _COARSE, _COARSE)
    length = cv2.magnitude(shift[..., 0], shift[..., 1])
    moving = cv2.blur(smooth01((length - 0.05) / (_MOVES_PX - 0.05)), (3, 3))
    return shift, np.minimum(moving, 1) * warp.free(grid)
