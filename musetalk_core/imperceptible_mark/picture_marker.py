"""Add the mark to pictures on their way to the encoder: at most 3 levels of luma; chroma is not changed."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.picture_pattern import PATTERN_LIMIT, TILE, grid_size, tile
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Float, Image

_MIN_GAIN, _MAX_GAIN, _GAIN_PER_LEVEL = 0.8, 1.35, 0.08
"""Levels of luma: strength in flat areas, in textured ones, and its growth with the standard deviation."""
MAX_CHANGE: Final = round(PATTERN_LIMIT * _MAX_GAIN)
"""Greatest change of a luma sample in levels of 255: 3."""
_STEPS_PER_LEVEL: Final = 32
"""The change is interpolated in steps of 1/32 level, as bytes around 128."""
_WINDOW: Final = (5, 5)
_ERODE: Final = np.ones((3, 3), np.uint8)


class PictureMarker:
    """Adds the mark of a key to pictures of one size. Depends on nothing but the picture and the key."""

    def __init__(self, key: MarkKey, width: int, height: int) -> None:
        """Prepare the pattern for pictures of `width` x `height` pixels."""
        self._size = width, height
        self._grid = grid_size(width, height)
        self._half = max(1, self._grid[0] // 2), max(1, self._grid[1] // 2)
        self._pattern = _pattern(key, self._grid)

    def __call__(self, picture: Picture) -> Picture:
        """Return a marked copy of a picture."""
        marked = np.empty_like(picture.i420)
        height = picture.height
        marked[height:] = picture.i420[height:]
        marked[:height] = self.mark_luma(picture.y)
        return Picture(marked)

    def mark_luma(self, luma: Image) -> Image:
        """
        Return a marked copy of a luma plane.

        Args:
            luma: (H, W) uint8.

        Returns:
            (H, W) uint8, at most `MAX_CHANGE` levels from `luma`.
        """
        gain = cv2.resize(self._gain(luma), self._grid, interpolation=cv2.INTER_LINEAR)
        steps = cv2.multiply(self._pattern, gain)
        change = cv2.convertScaleAbs(steps, alpha=1, beta=128)  # 20 to 236: never negative
        if self._grid != self._size:
            change = cv2.resize(change, self._size, interpolation=cv2.INTER_LINEAR)
        offset = -128 / _STEPS_PER_LEVEL
        return np.asarray(cv2.addWeighted(luma, 1.0, change, 1 / _STEPS_PER_LEVEL, offset), np.uint8)

    def _gain(self, luma: Image) -> Float:
        """
        Return the strength in levels on half of the grid: greater where the picture has texture.

        The smallest deviation around a point counts: flat areas beside an edge get a weak mark.
        """
        small = cv2.resize(luma, self._half, interpolation=cv2.INTER_AREA).astype(np.float32)
        mean = cv2.blur(small, _WINDOW)
        variance = cv2.blur(cv2.multiply(small, small), _WINDOW) - cv2.multiply(mean, mean)
        deviation = cv2.erode(np.sqrt(np.maximum(variance, 0)), _ERODE)
        gain = _MIN_GAIN + _GAIN_PER_LEVEL * cv2.blur(deviation, _WINDOW)
        return np.minimum(gain, np.float32(_MAX_GAIN))


@lru_cache(maxsize=4)
def _pattern(key: MarkKey, grid: tuple[int, int]) -> Float:
    """Return the pattern of a whole picture on its grid, in steps of 1 / `_STEPS_PER_LEVEL`."""
    width, height = grid
    repeated = np.tile(tile(key), (-(-height // TILE), -(-width // TILE)))[:height, :width]
    return np.ascontiguousarray(repeated * np.float32(_STEPS_PER_LEVEL))
