"""The one formula that puts a rendered face over its frame, in integers, as MuseTalk's image library does."""

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.types import Box, Image, Mask


def composite(frame: Image, area: Box, face: Image, box: Box, mask: Mask, mask_area: Box) -> Image:
    """
    Blend a face into a part of a frame.

    All boxes are in pixels of the frame; the face and the mask may stick out of the part, which shows of
    them what it can. Outside the face's box the mask has no effect, because there both sides agree.

    Args:
        frame:     (h, w, 3) uint8 BGR, the part `area` of the frame. Not modified.
        area:      where `frame` lies.
        face:      (fh, fw, 3) uint8 BGR, of the size of `box`.
        box:       where the face lies.
        mask:      (mh, mw) uint8, 0 keeps the frame, 255 takes the face.
        mask_area: where the mask lies; outside it counts as 0.

    Returns:
        (h, w, 3) uint8 BGR, a new array.

    Raises:
        InputError: an array has not the size of its box.
    """
    for array, its in ((frame, area), (face, box), (mask, mask_area)):
        if array.shape[1::-1] != its.size:
            raise InputError(f"An array of {array.shape[1::-1]} pixels does not fit its box of {its.size}.")
    out = frame.copy()
    shared = _common(_common(area, box), mask_area)
    if not shared.is_empty:
        here = _shifted(shared, area)
        before = frame[here.slices()].astype(np.uint16)
        over = face[_shifted(shared, box).slices()].astype(np.uint16)
        weight = mask[_shifted(shared, mask_area).slices()][..., None].astype(np.uint16)
        # 255 * 255 + 128 and its carry stay below 2 ** 16.
        total = before * (255 - weight) + over * weight + 128
        out[here.slices()] = ((total >> 8) + total) >> 8
    return out


def _common(a: Box, b: Box) -> Box:
    return Box(max(a.x1, b.x1), max(a.y1, b.y1), min(a.x2, b.x2), min(a.y2, b.y2))


def _shifted(box: Box, origin: Box) -> Box:
    return Box(box.x1 - origin.x1, box.y1 - origin.y1, box.x2 - origin.x1, box.y2 - origin.y1)
