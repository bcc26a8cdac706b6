"""Grain of a camera or a film: measured on skin, and added to what is drawn, which would look painted."""

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.types import Float, Image

_TILE: Final = 256
_KERNEL: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Blind to planes and slow changes of brightness (Immerkaer 1996)."""
_GAIN: Final = 1 / 6
"""Standard deviation of white noise over that of its convolution with the kernel."""
_MAX_GRAIN: Final = 6.0


def measure_grain(crop: Image, points: Float, radius: int) -> float:
    """
    Return the standard deviation of the finest detail of skin, in levels of luma.

    Args:
        crop:   (h, w, 3) uint8 BGR.
        points: (N, 2) float32, places on skin in pixels of the crop; the smoothest one counts.
        radius: half the side of the squares that are measured, in pixels.
    """
    found: list[float] = []
    for x, y in np.round(points).astype(int).tolist():
        square = crop[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        if min(square.shape[:2]) >= 5:
            luma = cv2.cvtColor(square, cv2.COLOR_BGR2GRAY)
            detail = cv2.filter2D(luma, cv2.CV_32F, _KERNEL)[1:-1, 1:-1]
            # the median leaves out moles and hair
            found.append(float(np.median(np.abs(detail))) * 1.4826 * _GAIN)
    return min(*found, _MAX_GRAIN) if found else 0.0


def grain_tile(sigma: float, seed: int, width: int, height: int) -> Float:
    """
    Return grain; the same arguments always give the same.

    Args:
        sigma:  standard deviation in levels.
        seed:   number of the source frame: a camera's grain differs from frame to frame, a still's does not.
        width:  in pixels.
        height: in pixels.

    Returns:
        (height, width) float32 levels.
    """
    top, left = (seed * 97) % _TILE, (seed * 57) % _TILE
    part = _noise()[top : top + height, left : left + width]
    if part.shape != (height, width):  # larger than the tile: repeat it
        part = np.pad(part, ((0, height - part.shape[0]), (0, width - part.shape[1])), mode="wrap")
    return part * np.float32(sigma)


@lru_cache(maxsize=1)
def _noise() -> Float:
    """Return white noise of standard deviation 1, a tile four times; not to be modified."""
    tile = np.random.default_rng(0).normal(0, 1, (_TILE, _TILE)).astype(np.float32)
    return np.tile(tile, (2, 2))
