"""
Blend a rendered face into its frame: blend square, feathered mask and 8-bit alpha compositing.

All engines use MuseTalk's geometry and the integer arithmetic of its image libraries, whichever mask they
supply.
"""

from typing import Final

import cv2
import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.types import Box, Image, Mask

BLUR_SHARE: Final = 0.05
"""Width of a mask's soft edge over the side of its square. MuseTalk's live script uses 0.1."""
_EXPAND_RATIO: Final = 1.5
_UPPER_BOUNDARY_RATIO: Final = 0.5


def blend_square(box: Box) -> Box:
    """Return the square in which a face is blended: centered on the box, with 1.5 times its longer side."""
    width, height = box.size
    x, y = (box.x1 + box.x2) // 2, (box.y1 + box.y2) // 2
    half = int(max(width, height) // 2 * _EXPAND_RATIO)
    return Box(x - half, y - half, x + half, y + half)


def lower_half(box: Box, square: Box) -> Box:
    """Return the part of the box that a hard mask may show: the part in the lower half of its square."""
    upper_height = int((square.y2 - square.y1) * _UPPER_BOUNDARY_RATIO)
    visible = box.intersection(Box(square.x1, square.y1 + upper_height, square.x2, square.y2))
    return Box(visible.x1, visible.y1, max(visible.x1, visible.x2), max(visible.y1, visible.y2))


def feather(mask: Mask, area: Box, square: Box, blur_share: float = BLUR_SHARE) -> tuple[Mask, Box]:
    """
    Blur the edge of a mask.

    The soft edge extends out of the box and into the upper half of the square, as in the original MuseTalk.
    The result equals a blur of the whole square, but only the non-zero part is computed here and in
    `composite`.

    Args:
        mask:       (h, w) uint8 over `area`. Not modified.
        area:       position of the mask in pixels; elsewhere in the square the mask is 0.
        square:     see `blend_square`; the width of the blur depends on its size.
        blur_share: width of the soft edge over the side of the square.

    Returns:
        (mh, mw) uint8 mask and its position: the smallest box that contains all non-zero pixels; may be
        empty.
    """
    mask, area = _trim_zeros(mask, area)
    if area.is_empty:
        return mask, area
    kernel_size = int(blur_share * (square.x2 - square.x1) // 2 * 2) + 1
    # GaussianBlur mirrors pixels at the border. One zero more than half the kernel makes the mirrored pixels
    # zeros; at the border of the square the same pixels are mirrored as in the original.
    padded_area = area.expand(kernel_size // 2 + 1).intersection(square)
    padded_mask = np.zeros((padded_area.y2 - padded_area.y1, padded_area.x2 - padded_area.x1), np.uint8)
    padded_mask[area.relative_to(padded_area).slices()] = mask
    return _trim_zeros(
        np.asarray(cv2.GaussianBlur(padded_mask, (kernel_size, kernel_size), 0), np.uint8), padded_area
    )


def composite(frame: Image, area: Box, face: Image, box: Box, mask: Mask, mask_area: Box) -> Image:
    """
    Blend a face into a part of a frame.

    All boxes are in pixels of the frame. The face and the mask may extend beyond the part; pixels outside
    it are ignored. Outside the face's box the mask has no effect.

    Args:
        frame:     (h, w, 3) uint8 BGR, the part `area` of the frame. Not modified.
        area:      position of `frame`.
        face:      (fh, fw, 3) uint8 BGR, of the size of `box`.
        box:       position of the face.
        mask:      (mh, mw) uint8, 0 keeps the frame, 255 takes the face.
        mask_area: position of the mask; outside it the mask is 0.

    Returns:
        (h, w, 3) uint8 BGR, a new array.

    Raises:
        InputError: the size of an array differs from its box.
    """
    for array, expected_box in ((frame, area), (face, box), (mask, mask_area)):
        if array.shape[1::-1] != expected_box.size:
            raise InputError(
                f"An array of {array.shape[1::-1]} pixels does not fit its box of {expected_box.size}."
            )
    out = frame.copy()
    overlap = area.intersection(box).intersection(mask_area)
    if not overlap.is_empty:
        target = overlap.relative_to(area)
        background = frame[target.slices()].astype(np.uint16)
        foreground = face[overlap.relative_to(box).slices()].astype(np.uint16)
        weight = mask[overlap.relative_to(mask_area).slices()][..., None].astype(np.uint16)
        # Rounded division by 255 in uint16: ((t >> 8) + t) >> 8 with t = 255 * value + 128, which stays below
        # 2 ** 16.
        total = background * (255 - weight) + foreground * weight + 128
        out[target.slices()] = ((total >> 8) + total) >> 8
    return out


def _trim_zeros(mask: Mask, area: Box) -> tuple[Mask, Box]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return mask[:0, :0], Box(area.x1, area.y1, area.x1, area.y1)
    tight_box = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return mask[tight_box.slices()], tight_box.relative_to(Box(-area.x1, -area.y1, 0, 0))
