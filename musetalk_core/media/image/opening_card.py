"""A text over the dimmed first seconds of a video, which tells viewers that it is synthetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from musetalk_core.media.image.text_panel import Panel, text_cover
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box

_OPACITY: Final = 0.8


@dataclass(frozen=True, slots=True)
class OpeningCard:
    """
    The card.

    Attributes:
        text:         one line in the middle of the picture.
        seconds:      how long it is shown from the start of the video.
        size_percent: size of the font in percent of the picture's height. A text that is too wide is smaller.
    """

    text: str
    seconds: float = 3.0
    size_percent: float = 8.0


class CardPainter:
    """Draws the opening card into the pictures of a video that it covers."""

    def __init__(self, card: OpeningCard, width: int, height: int, rate: Fraction) -> None:
        """
        Prepare the card for a video of `width` x `height` pixels.

        Raises:
            InputError: the font lacks a character, or the picture is too small for the text.
        """
        self._frames = round(card.seconds * rate)
        text, _ = text_cover(card.text, card.size_percent, width, height)
        cover = np.zeros((height, width), np.float32)
        top, left = (height - text.shape[0]) // 2, (width - text.shape[1]) // 2
        cover[top : top + text.shape[0], left : left + text.shape[1]] = text
        self._panel = Panel(Box(0, 0, width, height), cover, _OPACITY)

    def draw(self, picture: Picture, frame: int) -> Picture:
        """Return a frame of the video with the card; frames after the card are returned unchanged."""
        return self._panel.draw(picture) if frame < self._frames else picture
