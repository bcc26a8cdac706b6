"""Scene cut detection: the change of a brightness thumbnail compared with the usual change in the shot."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Float, Image

_THUMBNAIL_SIZE: Final = (32, 32)
_MIN_CHANGE: Final = 12.0
"""Minimum mean difference of a cut in grey levels, 0..255."""
_USUAL_CHANGE_FACTOR: Final = 4.0
_AVERAGE_DECAY: Final = 0.8


class SceneCutDetector:
    """A detector that reports for each frame in order whether it starts a new shot. Misses dissolves."""

    def __init__(self) -> None:
        self._previous: Float | None = None
        self._usual_change = 0.0

    def is_cut(self, picture: Picture) -> bool:
        """Compare a frame with the previous one; the first frame is no cut."""
        thumbnail = cv2.resize(_subsample_luma(picture), _THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)
        current = np.asarray(thumbnail, np.float32)
        previous, self._previous = self._previous, current
        if previous is None:
            return False
        change = float(np.abs(current - previous).mean())
        if change > _MIN_CHANGE + _USUAL_CHANGE_FACTOR * self._usual_change:
            self._usual_change = 0.0
            return True
        self._usual_change = _AVERAGE_DECAY * self._usual_change + (1 - _AVERAGE_DECAY) * change
        return False


def _subsample_luma(picture: Picture) -> Image:
    """Return luma with rows and columns skipped: enough for averages."""
    step_y, step_x = max(1, picture.height // 128), max(1, picture.width // 256)
    return np.ascontiguousarray(picture.y[::step_y, ::step_x])
