"""The label in a corner of pictures: place, contrast, size and hostile texts."""

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.media.image.corner_label import CornerLabel, Labeler
from musetalk_core.media.image.yuv_picture import Picture

CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")


def flat(level, width=640, height=360, chroma=128):
    i420 = np.full((height * 3 // 2, width), level, np.uint8)
    i420[height:] = chroma
    return Picture(i420)


def changed_box(before, after):
    rows, columns = np.nonzero(before.y != after.y)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("corner", CORNERS)
def test_it_is_in_its_corner_inside_the_safe_margins(corner):
    picture = flat(128)

    x1, y1, x2, y2 = changed_box(picture, Labeler(CornerLabel("AI-generated", corner), 640, 360)(picture))

    assert 32 <= x1 < x2 <= 640 - 32 and 18 <= y1 < y2 <= 360 - 18
    assert (x2 < 320) == corner.endswith("left")
    assert (y2 < 180) == corner.startswith("top")


@pytest.mark.parametrize("level", [16, 128, 235])
def test_it_is_legible_on_any_background_and_leaves_the_rest(level):
    picture = flat(level, chroma=200)

    out = Labeler(CornerLabel("AI-generated"), 640, 360)(picture)

    x1, y1, x2, y2 = changed_box(picture, out) if level != 16 else (400, 250, 640, 360)
    box = out.y[y1:y2, x1:x2].astype(int)
    background = np.median(box)
    assert box.max() - background > 100
    outside = np.ones(picture.y.shape, bool)
    outside[y1:y2, x1:x2] = False
    np.testing.assert_array_equal(out.y[outside], picture.y[outside])
    np.testing.assert_array_equal(out.u[:100], picture.u[:100])
    assert picture.y.max() == level, "the input is not modified"


def test_its_size_follows_the_picture_and_long_texts_shrink():
    def height(label, size):
        picture = flat(128, *size)
        _, y1, _, y2 = changed_box(picture, Labeler(label, *size)(picture))
        return y2 - y1

    small = height(CornerLabel("AI", size_percent=4), (640, 360))
    assert 1.8 < height(CornerLabel("AI", size_percent=4), (1280, 720)) / small < 2.2
    assert 1.8 < height(CornerLabel("AI", size_percent=8), (640, 360)) / small < 2.2
    assert height(CornerLabel("W" * 80), (640, 360)) < small


@pytest.mark.parametrize(
    "text", ["Généré par IA", "Wygenerowane", "Сгенерировано", "{\\an8} %{n} <b>", "a b"]
)
def test_other_alphabets_and_markup_are_drawn_as_they_are(text):
    assert (Labeler(CornerLabel(text), 640, 360)(flat(128)).y == 235).any()


@pytest.mark.parametrize("text", ["\u4eba\u5de5", "\U0001f916"])
def test_characters_that_the_font_lacks_are_refused(text):
    with pytest.raises(InputError, match="font"):
        Labeler(CornerLabel(text), 640, 360)


def test_a_picture_that_is_too_small_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        Labeler(CornerLabel("AI-generated"), 16, 16)


def test_the_same_label_gives_the_same_bytes():
    made = [Labeler(CornerLabel("AI-generated"), 640, 360)(flat(90)).i420.tobytes() for _ in range(2)]
    assert made[0] == made[1]
