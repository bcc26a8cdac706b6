"""
The displacement of every pixel for a target mouth shape, as a backward map.

One smooth field for everything above the lip line and one for everything below, joined along the line
between the lips. Displacements are blended, never pictures, so a mouth cannot appear twice.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme import thinplate
from musetalk_core.engines.viseme.controls import ABOVE, BELOW
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.shape import Shape
from musetalk_core.engines.viseme.steps import smooth01
from musetalk_core.types import Box, Float

_LINE_REACH: Final = 0.6
"""Half the range of the lip line's tables; beside the mouth the line continues unchanged."""
_LINE_STEPS: Final = 1200
_KNOTS: Final = np.arange(_LINE_STEPS + 1) * (2 * _LINE_REACH / _LINE_STEPS) - _LINE_REACH
_RIM: Final = 0.035
"""Outer share of the crop that never moves."""
_NOSE: Final = 0.02
"""Distance below the nose base where motion begins, in face units."""


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """
    Both displacement fields of one mouth and target shape.

    Attributes:
        mouth: the source mouth.
        shape: the target shape.
        size:  (w, h) of the crop in pixels.
        terms: (4, 108) float32, `distance_terms` of the displaced control points, in face units.
        above: (61, 2) float32 weights of the upper field; the field is in crop pixels.
        below: (86, 2) float32 weights of the lower field.
        line:  two (1201,) float32 tables over x: height of the lip line, and steepness of the transition.
    """

    mouth: Mouth
    shape: Shape
    size: tuple[int, int]
    terms: Float
    above: Float
    below: Float
    line: tuple[Float, Float]

    def shift(self, raster: Raster, columns: int, rows: int) -> Float:
        """
        Compute the displacement on a sampling grid.

        Args:
            grid:    the sampling grid.
            columns: columns of the coarser grid on which the splines are evaluated.
            rows:    rows of the coarser grid.

        Returns:
            (grid.rows, grid.columns, 2) float32, from each sample to its source, in crop pixels.
        """
        coarse = raster.over(min(columns, raster.columns), min(rows, raster.rows))
        x, y = coarse.local(self.mouth.pose)
        near = thinplate.basis(x.ravel(), y.ravel(), self.terms)
        still = self._window(coarse, y).reshape(-1, 1)
        size = raster.columns, raster.rows
        upper, lower = (
            cv2.resize((part @ weights * still).reshape(*x.shape, 2), size, interpolation=cv2.INTER_CUBIC)
            for part, weights in ((near[:, ABOVE], self.above), (near[:, BELOW], self.below))
        )
        share = self._below_line(raster)
        return np.asarray(cv2.blendLinear(lower, upper, share, 1 - share), np.float32)

    def is_free(self, area: Box) -> bool:
        """Return whether `change_mask` is 1 in a whole area of the crop."""
        (width, height), (x1, y1, x2, y2) = self.size, (area.x1, area.y1, area.x2, area.y2)
        rim = min(x1 / width, y1 / height, 1 - x2 / width, 1 - y2 / height)
        corners = np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]], np.float32)
        highest = float(self.mouth.pose.local(corners)[:, 1].min())
        return rim > _RIM + 0.03 and highest > float(self.mouth.nose[1]) + _NOSE + 0.015

    def free(self, raster: Raster) -> Float:
        """Return (rows, columns) float32: 1 where pixels may change, 0 at the rim and above the nose base."""
        y = raster.local_y(self.mouth.pose)
        y -= self.mouth.nose[1] + np.float32(_NOSE)
        y *= np.float32(1 / 0.015)
        return smooth01(y) * _rim(raster, self.size, 0.03)

    def _window(self, raster: Raster, y: Float) -> Float:
        """Return the share of the fields to use: fades out towards the rim and the nose base."""
        lip = float(self.mouth.upper_outer[5, 1] - self.mouth.nose[1])
        nose = smooth01((y - (self.mouth.nose[1] + np.float32(_NOSE))) * np.float32(1 / max(0.03, 0.6 * lip)))
        return nose * _rim(raster, self.size, 0.10)

    def _below_line(self, raster: Raster) -> Float:
        """Return (rows, columns) float32: 0 above the lip line .. 1 below; softer beside the mouth."""
        x, y = raster.local(self.mouth.pose)
        x += np.float32(_LINE_REACH)
        x *= np.float32(_LINE_STEPS / (2 * _LINE_REACH))
        at = x.astype(np.int32)
        line, steep = self.line
        y -= line.take(at, mode="clip")
        y *= steep.take(at, mode="clip")
        y += np.float32(0.5)
        return smooth01(y)


def warp_of(mouth: Mouth, shape: Shape, size: tuple[int, int]) -> Warp:
    """
    Fit both displacement fields.

    Args:
        mouth: the source mouth.
        shape: the target shape.
        size:  (w, h) of the crop in pixels.
    """
    # Backward map: the splines are centered at the target positions and return the source positions.
    centres = mouth.controls + shape.moves
    equations = thinplate.system(centres)
    pixels = shape.moves @ (mouth.pose.axes * np.float32(-mouth.pose.height))
    above, below = (thinplate.solved(equations[part, part], pixels[part]) for part in (ABOVE, BELOW))
    return Warp(mouth, shape, size, thinplate.terms_of(centres), above, below, _line(shape))


def _line(shape: Shape) -> tuple[Float, Float]:
    middle = (shape.upper + shape.lower) / 2
    line = np.interp(_KNOTS, middle[:, 0], middle[:, 1]).astype(np.float32)
    away = np.minimum(np.maximum(np.maximum(middle[0, 0] - _KNOTS, _KNOTS - middle[10, 0]), 0), 0.15)
    return line, (0.5 / (1e-7 + 0.8 * away)).astype(np.float32)


@lru_cache(maxsize=64)
def _rim(raster: Raster, size: tuple[int, int], width: float) -> Float:
    """Return (rows, columns) float32: 0 at the crop's border .. 1 inside; cached, not to be modified."""
    x, y = ((p + np.float32(0.5)) / np.float32(n) for p, n in zip(raster.positions(), size, strict=True))
    across, down = (smooth01((np.minimum(p, 1 - p) - np.float32(_RIM)) / np.float32(width)) for p in (x, y))
    return np.multiply.outer(down, across)
