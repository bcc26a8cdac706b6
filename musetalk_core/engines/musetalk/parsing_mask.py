"""
Blending masks from a face parser's class map, bit for bit as MuseTalk computes them.

A mask does not depend on the speech, so one mask serves a source frame in every job.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, floor
from typing import Final, get_args

import cv2
import numpy as np
from PIL import Image as Pillow

from musetalk_core.compositing.blending import BLUR_SHARE, blend_square, feather, lower_half
from musetalk_core.engines.musetalk.options import MaskMode
from musetalk_core.errors import InputError
from musetalk_core.types import Box, Mask

CLASS_MAP_SIZE_PX: Final = 512
"""Side of the class map in pixels; the map covers the square around the face box."""
_WHOLE_MAP: Final = Box(0, 0, CLASS_MAP_SIZE_PX, CLASS_MAP_SIZE_PX)
_SKIN, _NOSE, _NECK = 1, 10, 14
_MOUTH: Final = (11, 12, 13)
_BICUBIC_RADIUS_PX: Final = 2

_DILATE_UP_PX, _DILATE_DOWN_PX, _DILATE_ASIDE_PX = 16, 6, 10
_CHEEK_KERNEL_SIZE: Final = (35, 3)
_CHEEK_ITERATIONS: Final = 2
_MAX_CHEEK_WIDTH_PX: Final = CLASS_MAP_SIZE_PX // 2


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

    mode: MaskMode = "jaw"
    left_cheek: int = 90
    right_cheek: int = 90
    blur_share: float = BLUR_SHARE

    def __post_init__(self) -> None:
        if self.mode not in get_args(MaskMode):
            raise _unknown_mode_error(self.mode)
        if not all(0 <= width <= _MAX_CHEEK_WIDTH_PX for width in (self.left_cheek, self.right_cheek)):
            raise InputError(
                f"cheek widths must be in 0..{_MAX_CHEEK_WIDTH_PX},"
                f" not {self.left_cheek} and {self.right_cheek}"
            )
        if not 0 <= self.blur_share <= 1:
            raise InputError(f"the mask's blur share must be in 0..1, not {self.blur_share}")


def mask_from_classes(classes: Mask, box: Box, style: MaskStyle = MaskStyle()) -> tuple[Mask, Box]:
    """
    Compute the blending mask of one source frame.

    Args:
        classes: (512, 512) uint8, the parser's class for each pixel of `blend_square(box)` scaled to this
                 size.
        box:     the rendered face box, margin included.
        style:   which part of the face is replaced.

    Returns:
        (mh, mw) uint8, 255 shows the rendered face, and its box in the frame, which may leave the frame. The
        box is empty if the parser found no face.

    Raises:
        InputError: `classes` has another shape or dtype.
    """
    square = blend_square(box)
    part, square_size = lower_half(box, square), square.x2 - square.x1
    if part.is_empty:
        return feather(np.zeros(part.size[::-1], np.uint8), part, square)
    part_in_square = Box(part.x1 - square.x1, part.y1 - square.y1, part.x2 - square.x1, part.y2 - square.y1)
    source_area = _resize_source_area(part_in_square, square_size)
    class_map_mask = np.zeros((CLASS_MAP_SIZE_PX, CLASS_MAP_SIZE_PX), np.uint8)
    class_map_mask[source_area.slices()] = class_mask(classes, style, source_area)
    return feather(
        _resize_part(class_map_mask, square_size, part_in_square, source_area), part, square, style.blur_share
    )


def class_mask(classes: Mask, style: MaskStyle, window: Box = _WHOLE_MAP) -> Mask:
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
    if classes.shape != (CLASS_MAP_SIZE_PX, CLASS_MAP_SIZE_PX) or classes.dtype != np.uint8:
        raise InputError(
            f"a class map must be ({CLASS_MAP_SIZE_PX}, {CLASS_MAP_SIZE_PX}) uint8,"
            f" not {classes.shape} {classes.dtype}"
        )
    match style.mode:
        case "jaw":
            return _jaw_mask(classes, style, window)
        case "neck":
            return _mark_classes(classes[window.slices()], (_SKIN, *_MOUTH, _NECK))
        case "raw":
            return _mark_classes(classes[window.slices()], (_SKIN, *_MOUTH))
    raise _unknown_mode_error(style.mode)


def _unknown_mode_error(mode: str) -> InputError:
    return InputError(f"unknown mask mode {mode!r}; expected one of {', '.join(get_args(MaskMode))}")


def _jaw_mask(classes: Mask, style: MaskStyle, window: Box) -> Mask:
    margin_columns = _DILATE_ASIDE_PX + _CHEEK_ITERATIONS * (_CHEEK_KERNEL_SIZE[0] // 2)
    margin_rows = _CHEEK_ITERATIONS * (_CHEEK_KERNEL_SIZE[1] // 2)
    padded_window = Box(
        window.x1 - margin_columns,
        window.y1 - margin_rows - _DILATE_DOWN_PX,
        window.x2 + margin_columns,
        window.y2 + margin_rows + _DILATE_UP_PX,
    ).clip(CLASS_MAP_SIZE_PX, CLASS_MAP_SIZE_PX)
    part = np.ascontiguousarray(classes[padded_window.slices()])
    dilated = cv2.dilate(_mark_classes(part, (_SKIN,)), _jaw_kernel())
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, _CHEEK_KERNEL_SIZE)
    out = np.asarray(cv2.erode(dilated, ellipse, iterations=_CHEEK_ITERATIONS), np.uint8)
    # The left cheek ends with column 256 - left_cheek, the right one begins with column 256 + right_cheek.
    first = max(0, CLASS_MAP_SIZE_PX // 2 - style.left_cheek + 1 - padded_window.x1)
    last = max(0, CLASS_MAP_SIZE_PX // 2 + style.right_cheek - padded_window.x1)
    out[:, first:last] = dilated[:, first:last]
    out[part == _NOSE] = 0
    out |= _mark_classes(part, _MOUTH)
    x, y = window.x1 - padded_window.x1, window.y1 - padded_window.y1
    return out[y : y + window.size[1], x : x + window.size[0]]


def _mark_classes(classes: Mask, shown_classes: tuple[int, ...]) -> Mask:
    lookup = np.zeros(256, np.uint8)
    lookup[list(shown_classes)] = 255
    return np.asarray(cv2.LUT(classes, lookup), np.uint8)


@cache
def _jaw_kernel() -> Mask:
    """Return the (33, 33) uint8 dilation kernel: skin grows 16 pixels up and 6 down, tapering downwards."""
    middle = _DILATE_UP_PX
    kernel = np.zeros((2 * middle + 1, 2 * middle + 1), np.uint8)
    for row in range(middle - _DILATE_DOWN_PX, len(kernel)):
        half = min(row - (middle - _DILATE_DOWN_PX), _DILATE_ASIDE_PX)
        kernel[row, middle - half : middle + half + 1] = 1
    return kernel


def _resize_source_area(part: Box, square_size: int) -> Box:
    """Return the part of the class map that a bicubic resize to n x n reads for one part of its result."""
    scale = CLASS_MAP_SIZE_PX / square_size
    reach = _BICUBIC_RADIUS_PX * max(1.0, scale) + 1
    return Box(
        floor(part.x1 * scale - reach),
        floor(part.y1 * scale - reach),
        ceil(part.x2 * scale + reach),
        ceil(part.y2 * scale + reach),
    ).clip(CLASS_MAP_SIZE_PX, CLASS_MAP_SIZE_PX)


def _resize_part(mask: Mask, square_size: int, part: Box, source_area: Box) -> Mask:
    """
    Resize a (512, 512) mask to n x n and return one part of the result.

    Pillow resizes rows first, then columns, with uint8 in between. Each pass can therefore skip what the part
    does not need, and the result stays bit-identical.
    """
    rows, columns = slice(source_area.y1, source_area.y2), slice(part.x1, part.x2)
    resized_rows = Pillow.fromarray(mask[rows]).resize(
        (square_size, source_area.size[1]), Pillow.Resampling.BICUBIC
    )
    resized_columns = np.zeros((CLASS_MAP_SIZE_PX, part.size[0]), np.uint8)
    resized_columns[rows] = np.asarray(resized_rows)[:, columns]
    resized_part = Pillow.fromarray(resized_columns).resize(
        (part.size[0], square_size), Pillow.Resampling.BICUBIC
    )
    return np.asarray(resized_part, np.uint8)[part.y1 : part.y2]
