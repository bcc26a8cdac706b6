"""Head yaw, estimated from the face mesh."""

from typing import Final

import numpy as np

from musetalk_core.faces.mesh_topology import LEFT_EYE_OUTER, NOSE_TIP, RIGHT_EYE_OUTER
from musetalk_core.types import Float

_NOSE_DEPTH: Final = 1.0
"""Nose tip's distance from the plane of the eyes over half the outer eye distance (canonical face: 0.99)."""


def estimate_yaw_deg(landmarks: Float) -> float:
    """
    Estimate the yaw of a head, accurate to about 5 degrees up to 45; larger angles are underestimated.

    Assumes an average head without perspective: the nose tip moves off the middle of the outer eye corners by
    `depth * sin(yaw)` while these move together by `cos(yaw)`. Nodding by less than 30 degrees hardly
    matters, because only the component along the eyes' line counts.

    Args:
        landmarks: (468, 2) float32, mesh in pixels.

    Returns:
        Degrees; positive if the nose points to the picture's right, 0 for a frontal face.
    """
    left, right, nose = (landmarks[i].astype(float) for i in (LEFT_EYE_OUTER, RIGHT_EYE_OUTER, NOSE_TIP))
    axis = right - left
    half = float(np.linalg.norm(axis)) / 2
    if half == 0:
        return 90.0
    nose_offset = float((nose - (left + right) / 2) @ axis) / (2 * half)
    return float(np.degrees(np.arctan(nose_offset / (_NOSE_DEPTH * half))))
