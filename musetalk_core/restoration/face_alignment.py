"""Alignment of a face to the pose in which restoration networks were trained (FFHQ, 512 pixels)."""

from typing import Final

import numpy as np

from musetalk_core.faces.mesh_topology import LANDMARKS_68, MESH_POINTS
from musetalk_core.types import Box, Float

ALIGNED_PX: Final = 512
"""Side of an aligned face in pixels."""
_TEMPLATE: Final = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Eyes, tip of the nose and corners of the mouth in an aligned face; as GFPGAN and CodeFormer use them."""
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)
_NOSE_TIP, _LEFT_CORNER, _RIGHT_CORNER = 30, 48, 54


def alignment(landmarks: Float) -> Float:
    """
    Return the transformation from a picture to the aligned face.

    Args:
        landmarks: (468, 2) face mesh or (68 or more, 2) iBUG points, in pixels of the picture.

    Returns:
        (2, 3) float64 matrix of a rotation, one scale and a shift, for `cv2.warpAffine`: the least squares
        fit of five points. The sides of the picture are not swapped.
    """
    points = landmarks[LANDMARKS_68] if len(landmarks) == MESH_POINTS else landmarks
    found = np.array(
        [
            points[_LEFT_EYE].mean(axis=0),
            points[_RIGHT_EYE].mean(axis=0),
            points[_NOSE_TIP],
            points[_LEFT_CORNER],
            points[_RIGHT_CORNER],
        ],
        np.float64,
    )
    # points as complex numbers: a rotation with a scale is one complex factor
    here, there = (p[:, 0] + 1j * p[:, 1] for p in (found, _TEMPLATE))
    middle_here, middle_there = here.mean(), there.mean()
    spread = np.abs(here - middle_here) ** 2
    factor = ((here - middle_here).conj() * (there - middle_there)).sum() / max(float(spread.sum()), 1e-9)
    shift = middle_there - factor * middle_here
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def aligned_area(matrix: Float, width: int, height: int) -> Box:
    """Return the part of a picture of this size that an aligned face shows, on even coordinates."""
    corners = np.array([[0, 0], [ALIGNED_PX, 0], [0, ALIGNED_PX], [ALIGNED_PX, ALIGNED_PX]], np.float64)
    there = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    low, high = np.floor(there.min(axis=0)), np.ceil(there.max(axis=0))
    box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    return box.expand(1).clip(width, height).align_even().clip(width, height)
