"""Face search: all faces in an image, large and small, each verified by the face mesh."""

from typing import Final

import numpy as np

from musetalk_core.analysis.findings import Thing, box_in
from musetalk_core.faces.detector import detect_within, tiles
from musetalk_core.faces.finding import FoundFace, confirmed
from musetalk_core.media.picture import Picture
from musetalk_core.types import Box, Image

MOST: Final = 100
"""Maximum number of candidates that are verified."""
_SURE: Final = 0.9
"""Least score of the mesh for a face: smoke and leaves reach 0.7, faces 0.98."""
_SAME: Final = 0.5
"""A box that is covered by more than this share by a larger face is the same face."""


def find_people(bgr: Image) -> list[Thing]:
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
    even = np.pad(bgr, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    picture = Picture.from_bgr(even)
    areas = [Box(0, 0, picture.width, picture.height), *tiles(picture.width, picture.height)]
    found: list[Thing] = []
    for face in confirmed(picture, detect_within(picture, areas), most=MOST):
        thing = _thing(face, (width, height))
        if thing is not None and not any(_covers(other.box, thing.box) for other in found):
            found.append(thing)
    return found


def _thing(face: FoundFace, size: tuple[int, int]) -> Thing | None:
    box = box_in(face.landmarks, size)
    return None if box is None or face.score < _SURE else Thing("face", box, face.score)


def _covers(larger: Box, box: Box) -> bool:
    shared, own = larger.shared(box).size, box.size
    return shared[0] * shared[1] > _SAME * own[0] * own[1]
