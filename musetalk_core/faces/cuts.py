"""Scene cut detection: the change of a brightness thumbnail compared with the usual change in the shot."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.media.picture import Picture
from musetalk_core.types import Float, Image

_THUMBNAIL: Final = (32, 32)
_LEAST_CHANGE: Final = 12.0
"""Minimum mean difference of a cut in grey levels, 0..255."""
_TIMES_USUAL: Final = 4.0
_MEMORY: Final = 0.8


class CutFinder:
    """A detector that reports for each frame in order whether it starts a new shot. Misses dissolves."""

    def __init__(self) -> None:
        self._last: Float | None = None
        self._usual = 0.0

    def is_cut(self, picture: Picture) -> bool:
        """Compare a frame with the previous one; the first frame is no cut."""
        small = cv2.resize(_thinned(picture), _THUMBNAIL, interpolation=cv2.INTER_AREA)
        now = np.asarray(small, np.float32)
        last, self._last = self._last, now
        if last is None:
            return False
        change = float(np.abs(now - last).mean())
        if change > _LEAST_CHANGE + _TIMES_USUAL * self._usual:
            self._usual = 0.0
            return True
        self._usual = _MEMORY * self._usual + (1 - _MEMORY) * change
        return False


def _thinned(picture: Picture) -> Image:
    """Return luma with rows and columns skipped: enough for averages."""
    step_y, step_x = max(1, picture.height // 128), max(1, picture.width // 256)
    return np.ascontiguousarray(picture.y[::step_y, ::step_x])
