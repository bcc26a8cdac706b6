"""How far a face is turned away, read off its mesh."""

from typing import Final

import numpy as np

from musetalk_core.faces.topology import LEFT_EYE_OUTER, NOSE_TIP, RIGHT_EYE_OUTER
from musetalk_core.types import Float

_NOSE_DEPTH: Final = 1.0
"""Nose tip before the eyes' plane over half the distance of the outer eye corners (canonical face: 0.99)."""


def yaw(landmarks: Float) -> float:
    """
    Estimate the turn to the side, good to about 5 degrees up to 45 and too small beyond.

    It takes an average head without perspective: the nose tip moves off the middle of the outer eye corners
    by `depth * sin(yaw)` while these close in by `cos(yaw)`. Nodding by less than 30 degrees hardly matters,
    because only the direction of the eyes' line counts.

    Args:
        landmarks: (468, 2) float32, mesh in pixels.

    Returns:
        Degrees; positive when the nose points to the picture's right, 0 for a frontal face.
    """
    left, right, nose = (landmarks[i].astype(float) for i in (LEFT_EYE_OUTER, RIGHT_EYE_OUTER, NOSE_TIP))
    axis = right - left
    half = float(np.linalg.norm(axis)) / 2
    if half == 0:
        return 90.0
    off = float((nose - (left + right) / 2) @ axis) / (2 * half)
    return float(np.degrees(np.arctan(off / (_NOSE_DEPTH * half))))
