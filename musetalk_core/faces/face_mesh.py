"""The 468-point MediaPipe face mesh of one face, given its approximate position."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.faces.blazeface import Detection
from musetalk_core.faces.image_sampling import crop_rotated_square
from musetalk_core.faces.mesh_topology import LEFT_EYE_OUTER, MESH_POINTS, RIGHT_EYE_OUTER
from musetalk_core.faces.tflite import MESH, load_network
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Float

INPUT_PX: Final = 192
MIN_MESH_SCORE: Final = 0.5
"""A mesh with this score or a lower one is not a face."""
_REGION_SCALE: Final = 1.5
"""Side of the searched square over the longer side of the face."""


@dataclass(frozen=True, slots=True)
class FaceRegion:
    """A rotated square of a picture that contains one face, in pixels; it may leave the picture."""

    x: float
    y: float
    side: float
    angle: float
    """Radians, clockwise on screen; 0 for an upright face."""


def _rotation_matrix(angle: float) -> Float:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)


def region_of_detection(detection: Detection) -> FaceRegion:
    """Return the square around a detected face, rotated so that its eyes are level."""
    x1, y1, x2, y2 = detection.box
    dx, dy = detection.points[1] - detection.points[0]
    return FaceRegion(
        (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) * _REGION_SCALE, float(np.arctan2(dy, dx))
    )


def region_of_mesh(landmarks: Float) -> FaceRegion:
    """
    Return the square to search for the same face in the next frame.

    Args:
        landmarks: (468, 2) float32, mesh in pixels.
    """
    dx, dy = landmarks[RIGHT_EYE_OUTER] - landmarks[LEFT_EYE_OUTER]
    rotation = _rotation_matrix(float(np.arctan2(dy, dx)))
    upright = landmarks @ rotation
    low, high = upright.min(0), upright.max(0)
    x, y = rotation @ ((low + high) / 2)
    return FaceRegion(
        float(x), float(y), float((high - low).max()) * _REGION_SCALE, float(np.arctan2(dy, dx))
    )


def fit_mesh(picture: Picture, region: FaceRegion, folder: Path | None = None) -> tuple[Float, float]:
    """
    Fit the mesh once to the face in a region; converts only the region's pixels.

    Args:
        picture: the frame.
        region:  of the face.
        folder:  of the network file; None: inside this package.

    Returns:
        (468, 2) float32 pixels of the picture, possibly outside it, and a score 0..1: confidence of a face.

    Raises:
        ModelNotInstalled: the network file is missing or damaged.
    """
    bgr = crop_rotated_square(picture, (region.x, region.y), region.side, region.angle, INPUT_PX)
    out = load_network(MESH, folder)(bgr[..., ::-1].astype(np.float32) / np.float32(255))
    points, logit = out["conv2d_21"], out["conv2d_31"]
    relative_points = points.reshape(MESH_POINTS, 3)[:, :2] / INPUT_PX - 0.5
    landmarks = relative_points * region.side @ _rotation_matrix(region.angle).T + (region.x, region.y)
    score = 1 / (1 + np.exp(-float(np.clip(logit.ravel()[0], -80, 80))))
    return landmarks.astype(np.float32), float(score)


def fit_mesh_to_detection(
    picture: Picture, detection: Detection, folder: Path | None = None
) -> tuple[Float, float]:
    """
    Fit the mesh twice to a detected face: the first pass gives a better region for the second.

    Args:
        picture:   the frame.
        detection: the detected face.
        folder:    of the network file; None: inside this package.

    Returns:
        (468, 2) float32 pixels and a score 0..1, as `fit_mesh`.

    Raises:
        ModelNotInstalled: the network file is missing or damaged.
    """
    rough, _ = fit_mesh(picture, region_of_detection(detection), folder)
    return fit_mesh(picture, region_of_mesh(rough), folder)
