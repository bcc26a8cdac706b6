"""Position and rotation of a face in the picture, and conversion between pixels and face units."""

from dataclasses import dataclass

import numpy as np

from musetalk_core.faces.mesh_topology import (
    LEFT_EYE_OUTER,
    LEFT_MOUTH_CORNER,
    RIGHT_EYE_OUTER,
    RIGHT_MOUTH_CORNER,
)
from musetalk_core.types import Float


@dataclass(frozen=True, slots=True, eq=False)
class FacePose:
    """
    The axes of a face: x along the eyes, y down the face, origin between the corners of the mouth.

    Attributes:
        centre: (2,) float32, the origin in pixels.
        axes:   (2, 2) float32, rows are the unit vectors of x and y in pixels.
        height: face height H in pixels, the unit of length.
    """

    centre: Float
    axes: Float
    height: float

    def to_face_units(self, points: Float) -> Float:
        """Convert (N, 2) pixels to face units, float32."""
        return ((points - self.centre) @ self.axes.T / np.float32(self.height)).astype(np.float32)

    def to_pixels(self, points: Float) -> Float:
        """Convert (N, 2) face units to pixels, float32."""
        return ((points * np.float32(self.height)) @ self.axes + self.centre).astype(np.float32)


def estimate_pose(landmarks: Float, height: float) -> FacePose:
    """
    Estimate the pose of a face from its mesh.

    Args:
        landmarks: (468, 2) float32, mesh in pixels of the picture or crop that the pose refers to.
        height:    face height H in the same pixels.
    """
    along = landmarks[RIGHT_EYE_OUTER] - landmarks[LEFT_EYE_OUTER]
    along = along / max(float(np.hypot(*along)), 1e-6)
    axes = np.array([along, [-along[1], along[0]]], np.float32)
    centre = (landmarks[LEFT_MOUTH_CORNER] + landmarks[RIGHT_MOUTH_CORNER]) / 2
    return FacePose(centre.astype(np.float32), axes, height)
