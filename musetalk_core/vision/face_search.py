"""Face search: all faces in an image, large and small, each verified by the face mesh."""

from typing import Final

import numpy as np

from musetalk_core.faces.blazeface import detect_in_areas, search_tiles
from musetalk_core.faces.face_finder import VerifiedFace, verify_detections
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Image
from musetalk_core.vision.findings import DetectedObject, bounding_box

MAX_CANDIDATES: Final = 100
"""Maximum number of candidates that are verified."""
_MIN_SCORE: Final = 0.9
"""Least score of the mesh for a face: smoke and leaves reach 0.7, faces 0.98."""
_SAME_FACE_SHARE: Final = 0.5
"""A box that is covered by more than this share by a larger face is the same face."""


def find_all_faces(bgr: Image) -> list[DetectedObject]:
    """
    Find all faces, largest first, in the whole image and in overlapping tiles of two sizes.

    Args:
        bgr: (H, W, 3) uint8 BGR, upright.

    Returns:
        Boxes from brow to chin, labeled `face`.

    Raises:
        ModelNotInstalled: a network is missing or damaged.
    """
    height, width = bgr.shape[:2]
    padded = np.pad(bgr, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    picture = Picture.from_bgr(padded)
    areas = [Box(0, 0, picture.width, picture.height), *search_tiles(picture.width, picture.height)]
    faces: list[DetectedObject] = []
    for face in verify_detections(picture, detect_in_areas(picture, areas), max_candidates=MAX_CANDIDATES):
        detected = _to_detected_object(face, (width, height))
        if detected is not None and not any(_covers(other.box, detected.box) for other in faces):
            faces.append(detected)
    return faces


def _to_detected_object(face: VerifiedFace, size: tuple[int, int]) -> DetectedObject | None:
    box = bounding_box(face.landmarks, size)
    return None if box is None or face.score < _MIN_SCORE else DetectedObject("face", box, face.score)


def _covers(larger: Box, box: Box) -> bool:
    overlap, own_size = larger.intersection(box).size, box.size
    return overlap[0] * overlap[1] > _SAME_FACE_SHARE * own_size[0] * own_size[1]
