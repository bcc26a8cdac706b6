"""The card over the first seconds of a video: its frames, contrast and place, and texts that do not fit."""

from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.media.image.opening_card import CardPainter, OpeningCard
from musetalk_core.media.image.yuv_picture import Picture

RATE = Fraction(25)


def flat(level, width=640, height=360, chroma=200):
    i420 = np.full((height * 3 // 2, width), level, np.uint8)
    i420[height:] = chroma
    return Picture(i420)


@pytest.mark.parametrize("level", [16, 128, 235])
def test_the_picture_is_dimmed_and_the_text_in_its_middle_legible(level):
    picture = flat(level)

    out = CardPainter(OpeningCard("AI-generated"), 640, 360, RATE).draw(picture, 0)

    background = int(out.y[0, 0])
    assert background == round(16 * 0.8 + level * 0.2)
    rows, columns = np.nonzero(out.y.astype(int) > background + 100)
    assert out.y.max() == 235, "white"
    assert abs((rows.min() + rows.max()) / 2 - 180) < 5 and abs((columns.min() + columns.max()) / 2 - 320) < 3
    assert columns.min() >= 32 and columns.max() < 640 - 32, "inside the safe margins"
    assert abs(int(out.u[0, 0]) - 128) < abs(200 - 128) / 4, "colors fade"
    assert picture.y.max() == level, "the input is not modified"


def test_it_covers_the_first_seconds_only():
    picture = flat(128)
    painter = CardPainter(OpeningCard("AI", seconds=1.5), 640, 360, Fraction(30_000, 1001))

    covered = [number for number in range(60) if painter.draw(picture, number) is not picture]
    assert covered == list(range(45))


def test_a_text_that_cannot_be_shown_is_refused():
    with pytest.raises(InputError, match="no \u6c34"):
        CardPainter(OpeningCard("\u6c34"), 640, 360, RATE)
    with pytest.raises(InputError, match="does not fit"):
        CardPainter(OpeningCard("AI-generated"), 16, 16, RATE)
