"""How much of a rendered crop shows: the feathered lower half of the face oval, in MuseTalk's geometry."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.faces.topology import OVAL
from musetalk_core.types import Box, Float, Mask

_EXPAND: Final = 1.5
_UPPER_SHARE: Final = 0.5
_BLUR_SHARE: Final = 0.05
_SUBPIXEL_BITS: Final = 4


def oval_mask(landmarks: Float, box: Box, blur_share: float = _BLUR_SHARE) -> tuple[Mask, Box]:
    """
    Draw the mask of one source frame, for engines that bring no blend of their own.

    Where MuseTalk asks a face parser, this fills the outline of the mesh; all else is the same.

    Args:
        landmarks:  (468, 2) float32, mesh in pixels.
        box:        what the engine renders, margin included.
        blur_share: width of the soft edge over the side of the square; live MuseTalk takes 0.1.

    Returns:
        (n, n) uint8, 255 shows the rendered face, and the square box it covers, which may leave the picture.
    """
    square = paste_square(box)
    n = square.x2 - square.x1
    outline = (landmarks[OVAL] - (square.x1, square.y1)) * (1 << _SUBPIXEL_BITS)
    mask = np.zeros((n, n), np.uint8)
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return feathered(inside_lower(mask, box, square), blur_share), square


def paste_square(box: Box) -> Box:
    """Give the square around a box, 1.5 times as large, in which the blending happens."""
    width, height = box.size
    x, y = (box.x1 + box.x2) // 2, (box.y1 + box.y2) // 2
    half = int(max(width, height) // 2 * _EXPAND)
    return Box(x - half, y - half, x + half, y + half)


def inside_lower(mask: Mask, box: Box, square: Box) -> Mask:
    """
    Keep only what lies in the box and in the lower half of the square.

    Args:
        mask:   (n, n) uint8 over `square`. Not modified.
        box:    what the engine renders.
        square: see `paste_square`.

    Returns:
        (n, n) uint8, a new array.
    """
    n = len(mask)
    left, right = max(0, box.x1 - square.x1), max(0, box.x2 - square.x1)
    top, bottom = max(0, box.y1 - square.y1, int(n * _UPPER_SHARE)), max(0, box.y2 - square.y1)
    out = np.zeros_like(mask)
    out[top:bottom, left:right] = mask[top:bottom, left:right]
    return out


def feathered(mask: Mask, share: float = _BLUR_SHARE) -> Mask:
    """
    Soften the edge of a mask; it leaks out of the box and into the upper half, as in the original.

    Args:
        mask:  (n, n) uint8.
        share: width of the blur over n.
    """
    size = int(share * len(mask) // 2 * 2) + 1
    return np.asarray(cv2.GaussianBlur(mask, (size, size), 0), np.uint8)
