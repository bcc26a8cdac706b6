"""
A sampling grid over a rectangle of the crop, and soft-edged masks on it.

Pixels, coarse grids and supersampled close-ups are grids alike.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.face_pose import FacePose
from musetalk_core.types import Box, Float

_SUBPIXEL_BITS: Final = 4


@dataclass(frozen=True, slots=True)
class SamplingGrid:
    """
    `columns` x `rows` cells over `area` (crop pixels); samples are at the centers of the cells.

    OpenCV's resize uses the same rule, so an array over one grid of an area can be resized to another grid.
    """

    area: Box
    columns: int
    rows: int

    def with_cells(self, columns: int, rows: int) -> "SamplingGrid":
        """Return a grid over the same area with another number of cells."""
        return SamplingGrid(self.area, columns, rows)

    @property
    def cell_size(self) -> Float:
        """Return (2,) float32: width and height of a cell in crop pixels; not to be modified."""
        return _geometry(self)[0]

    @property
    def first_sample(self) -> Float:
        """Return (2,) float32: crop pixel of the first sample; not to be modified."""
        return _geometry(self)[1]

    def sample_positions(self) -> tuple[Float, Float]:
        """Return x (columns,) and y (rows,) of the samples, float32 crop pixels."""
        width, height = self.area.size
        return _cell_centres(self.area.x1, width, self.columns), _cell_centres(
            self.area.y1, height, self.rows
        )

    def face_coordinates(self, pose: FacePose) -> tuple[Float, Float]:
        """Return x and y of the samples in face units, (rows, columns) float32 each."""
        x, y = self.sample_positions()
        axes = pose.axes / np.float32(pose.height)
        x, y = x - pose.centre[0], y - pose.centre[1]
        return (
            np.add.outer(y * axes[0, 1], x * axes[0, 0]),
            np.add.outer(y * axes[1, 1], x * axes[1, 0]),
        )

    def to_cells(self, points: Float) -> Float:
        """Convert (N, 2) crop pixels to fractional column and row numbers, float32."""
        return ((points - self.first_sample) / self.cell_size).astype(np.float32)


@lru_cache(maxsize=64)
def _geometry(grid: SamplingGrid) -> tuple[Float, Float]:
    width, height = grid.area.size
    cell = np.array([width / grid.columns, height / grid.rows], np.float32)
    start = np.array([grid.area.x1 - 0.5, grid.area.y1 - 0.5], np.float32)
    return cell, (start + cell / 2).astype(np.float32)


@lru_cache(maxsize=256)
def _cell_centres(start: int, length: int, count: int) -> Float:
    """Return (count,) float32 cell centers in pixels; cached, not to be modified."""
    return ((np.arange(count) + 0.5) * (length / count) + (start - 0.5)).astype(np.float32)


def fill_between_curves(
    grid: SamplingGrid, pose: FacePose, upper: Float, lower: Float, supersampling: int = 1
) -> Float:
    """
    Fill the area between two curves.

    Args:
        grid:          the sampling grid.
        pose:          of the face.
        upper:         (N, 2) float32, face units.
        lower:         (N, 2) float32, face units.
        supersampling: samples per cell and axis; OpenCV's antialiased edges extend outwards by half a sample.

    Returns:
        (rows, columns) float32, 0..1, antialiased edges.
    """
    size = grid.columns, grid.rows
    fine_grid = grid.with_cells(supersampling * size[0], supersampling * size[1])
    corners = fine_grid.to_cells(pose.to_pixels(np.concatenate([upper, lower[::-1]])))
    fixed_point_corners = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    mask = np.zeros((fine_grid.rows, fine_grid.columns), np.uint8)
    cv2.fillPoly(mask, [fixed_point_corners], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    if supersampling > 1:
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return mask * np.float32(1 / 255)


def blur_mask(mask: Float, grid: SamplingGrid, pose: FacePose, sigma: float) -> Float:
    """Blur a (rows, columns) float32 mask; `sigma` is in face units, at least 0.4 cells."""
    cells_per_pixel = grid.columns / grid.area.size[0]
    return np.asarray(
        cv2.GaussianBlur(mask, (0, 0), max(0.4, sigma * pose.height * cells_per_pixel)), np.float32
    )
