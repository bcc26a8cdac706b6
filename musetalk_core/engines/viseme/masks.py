"""Soft-edged areas on a raster."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.pose import Pose
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.types import Float

_SUBPIXEL_BITS: Final = 4


def filled(raster: Raster, pose: Pose, upper: Float, lower: Float) -> Float:
    """Draw the area between two (N, 2) curves in face units: (rows, columns) float32, 0..1, smooth edges."""
    corners = raster.cells(pose.pixels(np.vstack([upper, lower[::-1]])))
    fixed = np.round(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    mask = np.zeros((raster.rows, raster.columns), np.uint8)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask * np.float32(1 / 255)


def blurred(mask: Float, raster: Raster, pose: Pose, sigma: float) -> Float:
    """Soften a mask; `sigma` in face units."""
    cells = raster.columns / raster.area.size[0]
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.4, sigma * pose.height * cells)), np.float32)
