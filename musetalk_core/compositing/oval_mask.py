"""Blending mask without a face parser: the lower half of the mesh's face oval."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.compositing.blending import BLUR_SHARE, blend_square, feather, lower_half
from musetalk_core.faces.mesh_topology import OVAL
from musetalk_core.types import Box, Float, Mask

_SUBPIXEL_BITS: Final = 4


def oval_mask(landmarks: Float, box: Box, blur_share: float = BLUR_SHARE) -> tuple[Mask, Box]:
    """
    Draw the blending mask of one source frame, for engines without a mask of their own.

    It replaces MuseTalk's face parser by the filled outline of the mesh; everything else is the same.

    Args:
        landmarks:  (468, 2) float32, mesh in pixels.
        box:        the rendered face box, margin included.
        blur_share: width of the soft edge over the side of the square.

    Returns:
        (mh, mw) uint8, 255 shows the rendered face, and its box in the frame, which may leave the frame.
    """
    square = blend_square(box)
    part = lower_half(box, square)
    outline = (landmarks[OVAL] - (part.x1, part.y1)) * (1 << _SUBPIXEL_BITS)
    mask = np.zeros((part.y2 - part.y1, part.x2 - part.x1), np.uint8)
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return feather(mask, part, square, blur_share)
