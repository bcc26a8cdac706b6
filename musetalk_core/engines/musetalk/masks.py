"""
Blending masks from a face parser's class map, bit for bit as MuseTalk computes them.

A mask does not depend on the speech, so one mask serves a source frame in every job.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, floor
from typing import Final, Literal, get_args

import cv2
import numpy as np
from PIL import Image as Pillow

from musetalk_core.blending import BLUR_SHARE, paste_square, softened, visible_part
from musetalk_core.errors import InputError
from musetalk_core.types import Box, Mask

Mode = Literal["raw", "neck", "jaw"]

SIDE: Final = 512
"""Side of the class map in pixels; the map covers the square around the face box."""
_WHOLE: Final = Box(0, 0, SIDE, SIDE)
_SKIN, _NOSE, _NECK = 1, 10, 14
_MOUTH: Final = (11, 12, 13)
_BICUBIC_REACH: Final = 2

_GROWN_UP, _GROWN_DOWN, _GROWN_ASIDE = 16, 6, 10
_CHEEK_KERNEL: Final = (35, 3)
_CHEEK_ROUNDS: Final = 2
_WIDEST_CHEEK: Final = SIDE // 2


@dataclass(frozen=True, slots=True)
class MaskStyle:
    """
    The part of a face that is replaced.

    Attributes:
        mode:        `raw`: skin and mouth; `neck`: the neck too; `jaw`: skin dilated beyond the jaw and
                     eroded at the cheeks, without the nose.
        left_cheek:  `jaw` only: the erosion begins this far left of the middle, in class map pixels.
        right_cheek: `jaw` only: the same to the right.
        blur_share:  width of the soft edge over the side of the square.

    Raises:
        InputError: the mode is unknown or a number is out of range.
    """

    mode: Mode = "jaw"
    left_cheek: int = 90
    right_cheek: int = 90
    blur_share: float = BLUR_SHARE

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"unknown mask mode {self.mode!r}; expected one of {', '.join(get_args(Mode))}")
        if not all(0 <= width <= _WIDEST_CHEEK for width in (self.left_cheek, self.right_cheek)):
            raise InputError(
                f"cheek widths must be in 0..{_WIDEST_CHEEK}, not {self.left_cheek} and {self.right_cheek}"
            )
        if not 0 <= self.blur_share <= 1:
            raise InputError(f"the mask's blur share must be in 0..1, not {self.blur_share}")


def parsed_mask(classes: Mask, box: Box, style: MaskStyle = MaskStyle()) -> tuple[Mask, Box]:
    """
    Compute the blending mask of one source frame.

    Args:
        classes: (512, 512) uint8, the parser's class for each pixel of `paste_square(box)` scaled to this
                 size.
        box:     the rendered face box, margin included.
        style:   which part of the face is replaced.

    Returns:
        (mh, mw) uint8, 255 shows the rendered face, and its box in the frame, which may leave the frame. The
        box is empty if the parser found no face.

    Raises:
        InputError: `classes` has another shape or dtype.
    """
    square = paste_square(box)
    part, n = visible_part(box, square), square.x2 - square.x1
    if part.is_empty:
        return softened(np.zeros(part.size[::-1], np.uint8), part, square)
    here = Box(part.x1 - square.x1, part.y1 - square.y1, part.x2 - square.x1, part.y2 - square.y1)
    read = _read_by(here, n)
    hard = np.zeros((SIDE, SIDE), np.uint8)
    hard[read.slices()] = class_mask(classes, style, read)
    return softened(_resized(hard, n, here, read), part, square, style.blur_share)


def class_mask(classes: Mask, style: MaskStyle, window: Box = _WHOLE) -> Mask:
    """
    Mark the pixels of the replaced classes.

    Args:
        classes: (512, 512) uint8.
        style:   mode and cheek widths; the blur is not applied here.
        window:  the part of the class map to compute.

    Returns:
        (h, w) uint8 over the window, 0 or 255.

    Raises:
        InputError: `classes` has another shape or dtype.
    """
    if classes.shape != (SIDE, SIDE) or classes.dtype != np.uint8:
        raise InputError(f"a class map must be ({SIDE}, {SIDE}) uint8, not {classes.shape} {classes.dtype}")
    if style.mode == "jaw":
        return _jaw(classes, style, window)
    shown = (_SKIN, *_MOUTH) if style.mode == "raw" else (_SKIN, *_MOUTH, _NECK)
    return _marked(classes[window.slices()], shown)


def _jaw(classes: Mask, style: MaskStyle, window: Box) -> Mask:
    aside = _GROWN_ASIDE + _CHEEK_ROUNDS * (_CHEEK_KERNEL[0] // 2)
    rows = _CHEEK_ROUNDS * (_CHEEK_KERNEL[1] // 2)
    wide = Box(
        window.x1 - aside, window.y1 - rows - _GROWN_DOWN, window.x2 + aside, window.y2 + rows + _GROWN_UP
    ).clipped(SIDE, SIDE)
    part = np.ascontiguousarray(classes[wide.slices()])
    grown = cv2.dilate(_marked(part, (_SKIN,)), _jaw_kernel())
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, _CHEEK_KERNEL)
    out = np.asarray(cv2.erode(grown, ellipse, iterations=_CHEEK_ROUNDS), np.uint8)
    # The left cheek ends with column 256 - left_cheek, the right one begins with column 256 + right_cheek.
    first = max(0, SIDE // 2 - style.left_cheek + 1 - wide.x1)
    last = max(0, SIDE // 2 + style.right_cheek - wide.x1)
    out[:, first:last] = grown[:, first:last]
    out[part == _NOSE] = 0
    out |= _marked(part, _MOUTH)
    x, y = window.x1 - wide.x1, window.y1 - wide.y1
    return out[y : y + window.size[1], x : x + window.size[0]]


def _marked(classes: Mask, shown: tuple[int, ...]) -> Mask:
    table = np.zeros(256, np.uint8)
    table[list(shown)] = 255
    return np.asarray(cv2.LUT(classes, table), np.uint8)


@cache
def _jaw_kernel() -> Mask:
    """Return the (33, 33) uint8 dilation kernel: skin grows 16 pixels up and 6 down, tapering downwards."""
    middle = _GROWN_UP
    kernel = np.zeros((2 * middle + 1, 2 * middle + 1), np.uint8)
    for row in range(middle - _GROWN_DOWN, len(kernel)):
        half = min(row - (middle - _GROWN_DOWN), _GROWN_ASIDE)
        kernel[row, middle - half : middle + half + 1] = 1
    return kernel


def _read_by(part: Box, n: int) -> Box:
    """Return the part of the class map that a bicubic resize to n x n reads for one part of its result."""
    scale = SIDE / n
    reach = _BICUBIC_REACH * max(1.0, scale) + 1
    return Box(
        floor(part.x1 * scale - reach),
        floor(part.y1 * scale - reach),
        ceil(part.x2 * scale + reach),
        ceil(part.y2 * scale + reach),
    ).clipped(SIDE, SIDE)


def _resized(mask: Mask, n: int, part: Box, read: Box) -> Mask:
    """
    Resize a (512, 512) mask to n x n and return one part of the result.

    Pillow resizes rows first, then columns, with uint8 in between. Each pass can therefore skip what the part
    does not need, and the result stays bit-identical.
    """
    rows, columns = slice(read.y1, read.y2), slice(part.x1, part.x2)
    wide = Pillow.fromarray(mask[rows]).resize((n, read.size[1]), Pillow.Resampling.BICUBIC)
    tall = np.zeros((SIDE, part.size[0]), np.uint8)
    tall[rows] = np.asarray(wide)[:, columns]
    done = Pillow.fromarray(tall).resize((part.size[0], n), Pillow.Resampling.BICUBIC)
    return np.asarray(done, np.uint8)[part.y1 : part.y2]
