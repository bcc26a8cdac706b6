"""A sampling grid over a rectangle of the crop: pixels, coarse grids and supersampled close-ups alike."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from musetalk_core.engines.viseme.face_pose import FacePose
from musetalk_core.types import Box, Float


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
