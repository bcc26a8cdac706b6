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

from musetalk_core.engines.viseme import thin_plate_spline
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.numeric import LOWER_FIELD, UPPER_FIELD, smoothstep
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid
from musetalk_core.engines.viseme.target_shape import TargetShape
from musetalk_core.types import Box, Float

_LINE_HALF_LENGTH: Final = 0.6
"""Half the range of the lip line's tables; beside the mouth the line continues unchanged."""
_LINE_STEPS: Final = 1200
_LINE_X: Final = np.arange(_LINE_STEPS + 1) * (2 * _LINE_HALF_LENGTH / _LINE_STEPS) - _LINE_HALF_LENGTH
_RIM_SHARE: Final = 0.035
"""Outer share of the crop that never moves."""
_NOSE_MARGIN: Final = 0.02
"""Distance below the nose base where motion begins, in face units."""
_CHEEK_RISE, _NOSE_HALF_WIDTH, _CHEEK_TRANSITION = 0.15, 0.07, 0.10
"""Beside the nose motion begins higher: cheeks follow the corners of the mouth, and folds are not torn."""


@dataclass(frozen=True, slots=True, eq=False)
class WarpField:
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
    shape: TargetShape
    size: tuple[int, int]
    terms: Float
    above: Float
    below: Float
    line: tuple[Float, Float]

    def displacement(self, grid: SamplingGrid, columns: int, rows: int) -> Float:
        """
        Compute the displacement on a sampling grid.

        Args:
            grid:    the sampling grid.
            columns: columns of the coarser grid on which the splines are evaluated.
            rows:    rows of the coarser grid.

        Returns:
            (grid.rows, grid.columns, 2) float32, from each sample to its source, in crop pixels.
        """
        coarse_grid = grid.with_cells(min(columns, grid.columns), min(rows, grid.rows))
        x, y = coarse_grid.face_coordinates(self.mouth.pose)
        basis_values = thin_plate_spline.evaluate_basis(x.ravel(), y.ravel(), self.terms)
        fade = _fade_mask(self.mouth, self.size, coarse_grid).reshape(-1, 1)
        size = grid.columns, grid.rows
        upper, lower = (
            cv2.resize((part @ weights * fade).reshape(*x.shape, 2), size, interpolation=cv2.INTER_CUBIC)
            for part, weights in (
                (basis_values[:, UPPER_FIELD], self.above),
                (basis_values[:, LOWER_FIELD], self.below),
            )
        )
        lower_weight = self._lower_field_weight(grid)
        return np.asarray(cv2.blendLinear(lower, upper, lower_weight, 1 - lower_weight), np.float32)

    def can_change_everywhere(self, area: Box) -> bool:
        """Return whether `change_mask` is 1 in a whole area of the crop."""
        return can_change_everywhere(self.mouth, self.size, area)

    def change_mask(self, grid: SamplingGrid) -> Float:
        """Return where pixels may change, see the function of this name."""
        return change_mask(self.mouth, self.size, grid)

    def _lower_field_weight(self, grid: SamplingGrid) -> Float:
        """Return (rows, columns) float32: 0 above the lip line .. 1 below; softer beside the mouth."""
        x, y = grid.face_coordinates(self.mouth.pose)
        x += np.float32(_LINE_HALF_LENGTH)
        x *= np.float32(_LINE_STEPS / (2 * _LINE_HALF_LENGTH))
        table_index = x.astype(np.int32)
        line, steepness = self.line
        y -= line.take(table_index, mode="clip")
        y *= steepness.take(table_index, mode="clip")
        y += np.float32(0.5)
        return smoothstep(y)


def fit_warp(mouth: Mouth, shape: TargetShape, size: tuple[int, int]) -> WarpField:
    """
    Fit both displacement fields.

    Args:
        mouth: the source mouth.
        shape: the target shape.
        size:  (w, h) of the crop in pixels.
    """
    # Backward map: the splines are centered at the target positions and return the source positions.
    centres = mouth.control_points + shape.control_offsets
    equations = thin_plate_spline.spline_equations(centres)
    pixels = shape.control_offsets @ (mouth.pose.axes * np.float32(-mouth.pose.height))
    above, below = (
        thin_plate_spline.solve_weights(equations[part, part], pixels[part])
        for part in (UPPER_FIELD, LOWER_FIELD)
    )
    return WarpField(
        mouth, shape, size, thin_plate_spline.distance_terms(centres), above, below, _lip_line_tables(shape)
    )


def _lip_line_tables(shape: TargetShape) -> tuple[Float, Float]:
    middle = (shape.upper + shape.lower) / 2
    line = np.interp(_LINE_X, middle[:, 0], middle[:, 1]).astype(np.float32)
    distance_beside = np.minimum(
        np.maximum(np.maximum(middle[0, 0] - _LINE_X, _LINE_X - middle[10, 0]), 0), 0.15
    )
    return line, (0.5 / (1e-7 + 0.8 * distance_beside)).astype(np.float32)


def can_change_everywhere(mouth: Mouth, size: tuple[int, int], area: Box) -> bool:
    """
    Return whether `change_mask` is 1 in a whole area.

    Args:
        mouth: the source mouth.
        size:  (w, h) of the crop in pixels.
        area:  in the crop.
    """
    (width, height), (x1, y1, x2, y2) = size, (area.x1, area.y1, area.x2, area.y2)
    rim = min(x1 / width, y1 / height, 1 - x2 / width, 1 - y2 / height)
    corners = np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]], np.float32)
    highest = float(mouth.pose.to_face_units(corners)[:, 1].min())
    return rim > _RIM_SHARE + 0.03 and highest > float(mouth.nose[1]) + _NOSE_MARGIN + 0.015


@lru_cache(maxsize=8)
def change_mask(mouth: Mouth, size: tuple[int, int], grid: SamplingGrid) -> Float:
    """
    Return (rows, columns) float32: 1 where pixels may change, 0 at the rim and from the nose upwards.

    Cached for stills, whose mouth is the same object in all frames; not to be modified.

    Args:
        mouth: the source mouth.
        size:  (w, h) of the crop in pixels.
        grid:  the sampling grid.
    """
    x, y = grid.face_coordinates(mouth.pose)
    y -= mouth.nose[1] + np.float32(_NOSE_MARGIN)
    y += np.float32(_CHEEK_RISE) * _beside_nose(mouth, x)
    y *= np.float32(1 / 0.015)
    return smoothstep(y) * _rim_mask(grid, size, 0.03)


@lru_cache(maxsize=8)
def _fade_mask(mouth: Mouth, size: tuple[int, int], grid: SamplingGrid) -> Float:
    """Return the share of the fields to use: fades out towards the rim and the nose base; cached as above."""
    x, y = grid.face_coordinates(mouth.pose)
    upper_lip_height = float(mouth.upper_outer[5, 1] - mouth.nose[1])
    rise = np.float32(_CHEEK_RISE) * _beside_nose(mouth, x)
    nose = smoothstep(
        (y - (mouth.nose[1] + np.float32(_NOSE_MARGIN)) + rise)
        / (np.float32(max(0.03, 0.6 * upper_lip_height)) + rise)
    )
    return nose * _rim_mask(grid, size, 0.10)


def _beside_nose(mouth: Mouth, x: Float) -> Float:
    """Return 0 at the nose .. 1 on the cheeks, of the shape of `x` in face units."""
    return smoothstep(
        (np.abs(x - mouth.nose[0]) - np.float32(_NOSE_HALF_WIDTH)) * np.float32(1 / _CHEEK_TRANSITION)
    )


@lru_cache(maxsize=64)
def _rim_mask(grid: SamplingGrid, size: tuple[int, int], width: float) -> Float:
    """Return (rows, columns) float32: 0 at the crop's border .. 1 inside; cached, not to be modified."""
    x, y = ((p + np.float32(0.5)) / np.float32(n) for p, n in zip(grid.sample_positions(), size, strict=True))
    across, down = (
        smoothstep((np.minimum(p, 1 - p) - np.float32(_RIM_SHARE)) / np.float32(width)) for p in (x, y)
    )
    return np.multiply.outer(down, across)
