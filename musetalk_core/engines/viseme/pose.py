"""Where a face is and how it is turned; everything else is measured in its own units."""

from dataclasses import dataclass

import numpy as np

from musetalk_core.faces.topology import (
    LEFT_EYE_OUTER,
    LEFT_MOUTH_CORNER,
    RIGHT_EYE_OUTER,
    RIGHT_MOUTH_CORNER,
)
from musetalk_core.types import Float


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """
    The face's own axes: x along the eyes, y down the face, origin between the corners of the mouth.

    Attributes:
        centre: (2,) float32 pixels.
        axes:   (2, 2) float32, rows are the unit vectors of x and y in pixels.
        height: H in pixels, the unit of length.
    """

    centre: Float
    axes: Float
    height: float

    def local(self, points: Float) -> Float:
        """Give (N, 2) pixels in face units."""
        return ((points - self.centre) @ self.axes.T / np.float32(self.height)).astype(np.float32)

    def pixels(self, points: Float) -> Float:
        """Give (N, 2) face units in pixels."""
        return ((points * np.float32(self.height)) @ self.axes + self.centre).astype(np.float32)


def pose_of(landmarks: Float, height: float) -> Pose:
    """
    Take the pose of a face.

    Args:
        landmarks: (468, 2) float32, mesh in pixels of whatever picture the pose shall speak of.
        height:    H in the same pixels.
    """
    along = landmarks[RIGHT_EYE_OUTER] - landmarks[LEFT_EYE_OUTER]
    along = along / max(float(np.hypot(*along)), 1e-6)
    axes = np.array([along, [-along[1], along[0]]], np.float32)
    centre = (landmarks[LEFT_MOUTH_CORNER] + landmarks[RIGHT_MOUTH_CORNER]) / 2
    return Pose(centre.astype(np.float32), axes, height)
