"""A text in a corner of pictures, which tells viewers that they are synthetic: white on a dark box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from musetalk_core.media.image.text_panel import MARGIN_SHARE, Panel, text_cover
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]

_BOX_OPACITY: Final = 0.65


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
        text, padding = text_cover(label.text, label.size_percent, width, height)
        size = tuple((side + 2 * padding + 1) & ~1 for side in text.shape[::-1])
        cover = np.zeros((size[1], size[0]), np.float32)
        cover[padding : padding + text.shape[0], padding : padding + text.shape[1]] = text
        self._panel = Panel(_place(label.corner, (size[0], size[1]), (width, height)), cover, _BOX_OPACITY)

    def __call__(self, picture: Picture) -> Picture:
        """Return a copy of a picture with the label."""
        return self._panel.draw(picture)


def _place(corner: Corner, size: tuple[int, int], picture: tuple[int, int]) -> Box:
    """Return the box of a label with even coordinates."""
    margins = [max(2, round(side * MARGIN_SHARE)) & ~1 for side in picture]
    x = margins[0] if corner.endswith("left") else (picture[0] - margins[0] - size[0]) & ~1
    y = margins[1] if corner.startswith("top") else (picture[1] - margins[1] - size[1]) & ~1
    x, y = max(0, x), max(0, y)
    return Box(x, y, x + size[0], y + size[1])
