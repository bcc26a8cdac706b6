"""
Restoration of rendered faces by a network that was trained on aligned faces of 512 pixels.

The face is aligned, restored, and the difference is moved back and added. Three measures make a network for
single photographs usable for video: colors and shading stay those of the rendered face (only the fine part
of the difference is used); detail that contradicts the rendered face is left out; and the difference is
stabilized over time.
"""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from musetalk_core.restoration.face_alignment import ALIGNED_PX, aligned_area, alignment
from musetalk_core.restoration.restorer_protocol import RenderedFace
from musetalk_core.restoration.temporal_stabilizer import TemporalStabilizer
from musetalk_core.types import Float, Image

RESTORATION_VERSION: Final = 1
"""Code version in cache keys. Increase it when pixels change."""
RestoreFace = Callable[[Image], Image]
"""Restores an aligned face: (512, 512, 3) uint8 BGR to the same."""
_FINE_SIGMA_PX: Final = 12.0
"""Sigma of the blur, in aligned pixels, above which a difference is color and shading and is left out."""
_MIDDLE_SIGMA_PX: Final = 4.0
_NEIGHBORHOOD: Final = np.ones((25, 25), np.uint8)
_TOLERANCE_LEVELS: Final = 24.0
"""Difference of the blurred faces, in levels of 255, at which 1/e of the restored detail is used."""


class NetworkRestorer:
    """A `FaceRestorer` for consecutive frames with a network for aligned faces."""

    def __init__(self, restore_face: RestoreFace) -> None:
        """
        Start with an empty running mean.

        Args:
            restore_face: the network.
        """
        self._restore_face, self._stabilizer = restore_face, TemporalStabilizer()

    def restore(self, rendered: RenderedFace) -> Image:
        """Return the face with the network's detail in its visible part; see `FaceRestorer`."""
        visible = rendered.visible
        if visible.is_empty:
            return rendered.face
        matrix = alignment(rendered.landmarks)
        aligned = _align(rendered, matrix)
        correction = self._stabilizer.update(aligned, _correction(aligned, self._restore_face(aligned)))
        to_visible = _moved_origin(matrix, visible.x1, visible.y1)
        change = cv2.warpAffine(
            correction,
            to_visible,
            visible.size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        place = visible.relative_to(rendered.box).slices()
        restored = rendered.face.copy()
        restored[place] = cv2.add(np.ascontiguousarray(restored[place]), change, dtype=cv2.CV_8U)
        return restored


def _align(rendered: RenderedFace, matrix: Float) -> Image:
    """Return the aligned face: the source's surroundings with the visible part of the rendered face."""
    picture, visible = rendered.picture, rendered.visible
    area = aligned_area(matrix, picture.width, picture.height)
    pixels = picture.bgr(area)
    shown = visible.intersection(area)
    if not shown.is_empty:
        pixels[shown.relative_to(area).slices()] = rendered.face[shown.relative_to(rendered.box).slices()]
    return np.asarray(
        cv2.warpAffine(
            pixels,
            _moved_origin(matrix, area.x1, area.y1),
            (ALIGNED_PX, ALIGNED_PX),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def _correction(aligned: Image, restored: Image) -> Float:
    """Return the fine part of the difference, weighted by how well the coarse parts agree."""
    difference = restored.astype(np.float32) - aligned
    fine = difference - cv2.GaussianBlur(difference, (0, 0), _FINE_SIGMA_PX)
    coarse = np.abs(cv2.GaussianBlur(difference, (0, 0), _MIDDLE_SIGMA_PX)).max(axis=2)
    # around a contradiction the fine part still holds its edges
    coarse = cv2.GaussianBlur(cv2.dilate(coarse, _NEIGHBORHOOD), (0, 0), _MIDDLE_SIGMA_PX)
    confidence = np.exp(-np.square(coarse / _TOLERANCE_LEVELS))
    return np.asarray(fine * confidence[..., None], np.float32)


def _moved_origin(matrix: Float, x: int, y: int) -> Float:
    """Return the transformation for a part of the picture whose top left corner is (x, y)."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ (x, y)
    return moved
