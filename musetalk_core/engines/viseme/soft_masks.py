"""Soft-edged masks on a sampling grid."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.face_pose import FacePose
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid
from musetalk_core.types import Float

_SUBPIXEL_BITS: Final = 4


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
