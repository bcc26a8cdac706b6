"""Soft-edged masks on a sampling grid."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.pose import Pose
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.types import Float

_SUBPIXEL_BITS: Final = 4


def filled(raster: Raster, pose: Pose, upper: Float, lower: Float, finer: int = 1) -> Float:
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
    size = raster.columns, raster.rows
    fine = raster.over(finer * size[0], finer * size[1])
    corners = fine.cells(pose.pixels(np.concatenate([upper, lower[::-1]])))
    fixed = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    mask = np.zeros((fine.rows, fine.columns), np.uint8)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    if finer > 1:
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return mask * np.float32(1 / 255)


def blurred(mask: Float, raster: Raster, pose: Pose, sigma: float) -> Float:
    """Blur a (rows, columns) float32 mask; `sigma` is in face units, at least 0.4 cells."""
    cells = raster.columns / raster.area.size[0]
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.4, sigma * pose.height * cells)), np.float32)
