"""A white line of text on a dark panel, drawn into pictures with the font that is part of the program."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Float

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

MARGIN_SHARE: Final = 0.05
"""Safe margin on each side, as a share of that side: TVs and apps cover the border of pictures."""
_FONT: Final = Path(__file__).parents[1] / "output" / "fonts" / "DejaVuSans.ttf"
_PADDING_SHARE: Final = 0.4
"""Space around the text, as a share of the font size."""
_MIN_FONT_PX: Final = 6
_BLACK, _WHITE, _NEUTRAL = 16, 235, 128
_NO_GLYPH: Final = "\uffff"


class Panel:
    """Draws a text on a dark panel into pictures."""

    def __init__(self, box: Box, cover: Float, opacity: float) -> None:
        """
        Prepare the panel.

        Args:
            box:     place of the panel, with even coordinates.
            cover:   cover of the text, (h, w) float32 in 0..1, as large as the box.
            opacity: of the panel.
        """
        self._box = box
        self._keep = (1 - np.float32(opacity)) * (1 - cover)
        self._add = np.float32(opacity * _BLACK) * (1 - cover) + cover * _WHITE
        self._keep_chroma = self._keep.reshape(cover.shape[0] // 2, 2, cover.shape[1] // 2, 2).mean((1, 3))

    def draw(self, picture: Picture) -> Picture:
        """Return a copy of a picture with the panel."""
        out = Picture(picture.i420.copy())
        rows, columns = self._box.slices()
        luma = out.y[rows, columns]
        luma[:] = np.rint(luma * self._keep + self._add).astype(np.uint8)
        half = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
        for plane in (out.u[half], out.v[half]):
            plane[:] = np.rint((plane - np.float32(_NEUTRAL)) * self._keep_chroma + _NEUTRAL).astype(np.uint8)
        return out


def text_cover(text: str, size_percent: float, width: int, height: int) -> tuple[Float, int]:
    """
    Return the cover of a text, (h, w) float32 in 0..1, and the space around it in pixels.

    Args:
        text:         one line.
        size_percent: size of the font in percent of the picture's height. A text that is too wide is smaller.
        width:        width of the picture in pixels.
        height:       height of the picture in pixels.

    Raises:
        InputError: the font lacks a character, or the picture is too small for the text.
    """
    _check_glyphs(text)
    space = width * (1 - 2 * MARGIN_SHARE), height * (1 - 2 * MARGIN_SHARE)
    size = max(_MIN_FONT_PX, round(height * size_percent / 100))
    while True:
        font, padding = _font(size), max(2, round(size * _PADDING_SHARE))
        left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
        if right - left + 2 * padding + 1 <= space[0] and bottom - top + 2 * padding + 1 <= space[1]:
            break
        if size <= _MIN_FONT_PX:
            raise InputError(
                f"The label does not fit into a picture of {width}x{height} pixels. Shorten its text."
            )
        size = max(_MIN_FONT_PX, size * 9 // 10)
    return _draw(text, font), padding


def _draw(text: str, font: FreeTypeFont) -> Float:
    """Return the cover of a text, (h, w) float32 in 0..1, without space around it."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    canvas = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(canvas).text((-left, -top), text, 255, font)
    return np.asarray(canvas, np.float32) / np.float32(255)


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
