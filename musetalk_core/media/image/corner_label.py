"""A text in a corner of pictures, which tells viewers that they are synthetic: white on a dark box."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Float

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]

_FONT: Final = Path(__file__).parents[1] / "output" / "fonts" / "DejaVuSans.ttf"
_MARGIN_SHARE: Final = 0.05
"""Safe margin on each side, as a share of that side: TVs and apps cover the border of pictures."""
_PADDING_SHARE: Final = 0.4
"""Space around the text, as a share of the font size."""
_MIN_FONT_PX: Final = 6
_BOX_OPACITY: Final = 0.65
_BLACK, _WHITE, _NEUTRAL = 16, 235, 128
_NO_GLYPH: Final = "\uffff"


@dataclass(frozen=True, slots=True)
class CornerLabel:
    """
    The label.

    Attributes:
        text:         one line.
        corner:       where it is.
        size_percent: size of the font in percent of the picture's height. A text that is too wide is smaller.
    """

    text: str
    corner: Corner = "bottom_right"
    size_percent: float = 4.0


class Labeler:
    """Draws a label into pictures of one size."""

    def __init__(self, label: CornerLabel, width: int, height: int) -> None:
        """
        Prepare the label for pictures of `width` x `height` pixels.

        Raises:
            InputError: the font lacks a character, or the picture is too small for the text.
        """
        _check_glyphs(label.text)
        text, padding = _text_mask(label, width, height)
        size = tuple((side + 2 * padding + 1) & ~1 for side in text.shape[::-1])
        self._box = _place(label.corner, (size[0], size[1]), (width, height))
        opacity = np.full((size[1], size[0]), _BOX_OPACITY, np.float32)
        cover = np.zeros_like(opacity)
        cover[padding : padding + text.shape[0], padding : padding + text.shape[1]] = text
        self._keep = (1 - opacity) * (1 - cover)
        self._add = (opacity * _BLACK) * (1 - cover) + cover * _WHITE
        self._keep_chroma = self._keep.reshape(size[1] // 2, 2, size[0] // 2, 2).mean((1, 3))

    def __call__(self, picture: Picture) -> Picture:
        """Return a copy of a picture with the label."""
        out = Picture(picture.i420.copy())
        rows, columns = self._box.slices()
        luma = out.y[rows, columns]
        luma[:] = np.rint(luma * self._keep + self._add).astype(np.uint8)
        half = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
        for plane in (out.u[half], out.v[half]):
            plane[:] = np.rint((plane - np.float32(_NEUTRAL)) * self._keep_chroma + _NEUTRAL).astype(np.uint8)
        return out


def _text_mask(label: CornerLabel, width: int, height: int) -> tuple[Float, int]:
    """Return the cover of the text, (h, w) float32 in 0..1, and the padding in pixels."""
    space = width * (1 - 2 * _MARGIN_SHARE), height * (1 - 2 * _MARGIN_SHARE)
    size = max(_MIN_FONT_PX, round(height * label.size_percent / 100))
    while True:
        font, padding = _font(size), max(2, round(size * _PADDING_SHARE))
        left, top, right, bottom = (round(edge) for edge in font.getbbox(label.text))
        if right - left + 2 * padding + 1 <= space[0] and bottom - top + 2 * padding + 1 <= space[1]:
            break
        if size <= _MIN_FONT_PX:
            raise InputError(
                f"The label does not fit into a picture of {width}x{height} pixels. Shorten its text."
            )
        size = max(_MIN_FONT_PX, size * 9 // 10)
    return _draw(label.text, font), padding


def _draw(text: str, font: FreeTypeFont) -> Float:
    """Return the cover of a text, (h, w) float32 in 0..1, without space around it."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    canvas = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(canvas).text((-left, -top), text, 255, font)
    return np.asarray(canvas, np.float32) / np.float32(255)


def _place(corner: Corner, size: tuple[int, int], picture: tuple[int, int]) -> Box:
    """Return the box of a label with even coordinates."""
    margins = [max(2, round(side * _MARGIN_SHARE)) & ~1 for side in picture]
    x = margins[0] if corner.endswith("left") else (picture[0] - margins[0] - size[0]) & ~1
    y = margins[1] if corner.startswith("top") else (picture[1] - margins[1] - size[1]) & ~1
    x, y = max(0, x), max(0, y)
    return Box(x, y, x + size[0], y + size[1])


@lru_cache(maxsize=8)
def _font(size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(str(_FONT), size, layout_engine=ImageFont.Layout.BASIC)


def _check_glyphs(text: str) -> None:
    font = _font(24)
    missing = _draw(_NO_GLYPH, font).tobytes()
    visible = [one for one in dict.fromkeys(text) if not one.isspace()]
    lacking = [one for one in visible if _draw(one, font).tobytes() == missing]
    if lacking:
        raise InputError(f"The font of labels has no {''.join(lacking[:10])}. Use other characters.")
