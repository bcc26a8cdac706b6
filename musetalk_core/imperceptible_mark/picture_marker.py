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
_MAX_AGE: Final = 5
"""Pictures for which a strength is used."""
_NEW_PICTURE_LEVELS: Final = 4
"""Mean difference in levels from which a picture needs a strength of its own, for example after a cut."""
_WINDOW: Final = (5, 5)
_ERODE: Final = np.ones((3, 3), np.uint8)


class PictureMarker:
    """
    Adds the mark of a key to the pictures of a chunk in order. The same pictures give the same bytes.

    The strength follows the picture with every fifth picture, and at once if the picture changes. Not
    thread-safe: buffers are reused, because new memory for each picture costs more than the arithmetic.
    """

    def __init__(self, key: MarkKey, width: int, height: int) -> None:
        """Prepare the pattern for pictures of `width` x `height` pixels."""
        self._size = width, height
        self._grid = grid_size(width, height)
        self._half = max(1, self._grid[0] // 2), max(1, self._grid[1] // 2)
        self._pattern = _pattern(key, self._grid)
        columns, rows = self._grid
        self._on_grid = np.empty((rows, columns), np.uint8)
        self._steps = np.empty((rows, columns), np.float32)
        self._change = np.empty((height, width), np.uint8)
        self._masked_by: Image | None = None
        self._age = 0

    def __call__(self, picture: Picture) -> Picture:
        """Return a marked copy of a picture."""
        marked = np.empty_like(picture.i420)
        height = picture.height
        marked[height:] = picture.i420[height:]
        self.mark_luma(picture.y, marked[:height])
        return Picture(marked)

    def mark_luma(self, luma: Image, out: Image | None = None) -> Image:
        """
        Return a marked copy of a luma plane.

        Args:
            luma: (H, W) uint8. Not modified.
            out:  (H, W) uint8 to write to; None = a new array.

        Returns:
            `out`, at most `MAX_CHANGE` levels from `luma`.
        """
        out = np.empty_like(luma) if out is None else out
        small = self._shrink(luma)
        if self._is_outdated(small):
            self._update_change(small)
        self._age += 1
        cv2.addWeighted(luma, 1.0, self._change, 1 / _STEPS_PER_LEVEL, -128 / _STEPS_PER_LEVEL, out)
        return out

    def _shrink(self, luma: Image) -> Image:
        cv2.resize(luma, self._grid, self._on_grid, interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.resize(self._on_grid, self._half, interpolation=cv2.INTER_AREA), np.uint8)

    def _is_outdated(self, small: Image) -> bool:
        """Return whether the strength is old, or was computed for a different picture."""
        if self._masked_by is None or self._age >= _MAX_AGE:
            return True
        return cv2.norm(small, self._masked_by, cv2.NORM_L1) > _NEW_PICTURE_LEVELS * small.size

    def _update_change(self, small: Image) -> None:
        cv2.resize(_gain(small), self._grid, self._steps, interpolation=cv2.INTER_LINEAR)
        cv2.multiply(self._pattern, self._steps, self._steps)
        cv2.convertScaleAbs(self._steps, self._on_grid, alpha=1, beta=128)  # 20 to 236: never negative
        cv2.resize(self._on_grid, self._size, self._change, interpolation=cv2.INTER_LINEAR)
        self._masked_by, self._age = small, 0


def _gain(small: Image) -> Float:
    """
    Return the strength of the mark in levels: greater where the picture has texture.

    The smallest deviation around a point counts: flat areas beside an edge get a weak mark.

    Args:
        small: (h, w) uint8, the luma on half of the grid.

    Returns:
        (h, w) float32, `_MIN_GAIN` to `_MAX_GAIN`.
    """
    values = small.astype(np.float32)
    mean = cv2.blur(values, _WINDOW)
    variance = cv2.blur(cv2.multiply(values, values), _WINDOW) - cv2.multiply(mean, mean)
    deviation = cv2.erode(np.sqrt(np.maximum(variance, 0)), _ERODE)
    gain = _MIN_GAIN + _GAIN_PER_LEVEL * cv2.blur(deviation, _WINDOW)
    return np.minimum(gain, np.float32(_MAX_GAIN))


@lru_cache(maxsize=4)
def _pattern(key: MarkKey, grid: tuple[int, int]) -> Float:
    """Return the pattern of a whole picture on its grid, in steps of 1 / `_STEPS_PER_LEVEL`."""
    width, height = grid
    repeated = np.tile(tile(key), (-(-height // TILE), -(-width // TILE)))[:height, :width]
    return np.ascontiguousarray(repeated * np.float32(_STEPS_PER_LEVEL))
