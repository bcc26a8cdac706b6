import cv2
import numpy as np
import pytest

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box

BOX = Box(8, 4, 24, 20)


@pytest.fixture
def smooth():
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


@pytest.mark.parametrize(
    ("bgr", "yuv"),
    [
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((0, 0, 255), (63, 102, 240)),
        ((255, 0, 0), (32, 240, 118)),
        ((0, 255, 0), (173, 42, 26)),
    ],
)
def test_colours_follow_bt709_limited_range(bgr, yuv):
    picture = Picture.from_bgr(np.full((2, 2, 3), bgr, np.uint8))

    assert (picture.y[0, 0], picture.u[0, 0], picture.v[0, 0]) == pytest.approx(yuv, abs=1)
    np.testing.assert_allclose(picture.bgr()[0, 0].astype(int), bgr, atol=3)


def test_a_box_is_the_same_part_of_the_whole(smooth):
    picture = Picture.from_bgr(smooth)

    inner = picture.bgr(BOX)[2:-2, 2:-2].astype(int)  # chroma at the very edge is interpolated inside the box
    whole = picture.bgr()[BOX.slices()][2:-2, 2:-2].astype(int)
    np.testing.assert_allclose(inner, whole, atol=1)


def test_pasting_what_was_there_changes_no_byte(smooth):
    picture = Picture.from_bgr(smooth)
    crop = picture.bgr(BOX)

    np.testing.assert_array_equal(picture.with_crop(crop.copy(), crop, BOX).i420, picture.i420)


def test_pasting_touches_only_what_the_crop_changed(smooth):
    picture = Picture.from_bgr(smooth)
    before, source = picture.i420.copy(), picture.bgr(BOX)
    crop = source.copy()
    crop[4:8, 6:10] = (30, 60, 200)

    after = picture.with_crop(crop, source, BOX)

    np.testing.assert_array_equal(picture.i420, before)
    y = after.y != picture.y
    assert y[8:12, 14:18].all()
    y[8:12, 14:18] = False
    assert not y.any()
    chroma = (after.u != picture.u) | (after.v != picture.v)
    chroma[4:6, 7:9] = False
    assert not chroma.any()
    np.testing.assert_allclose(after.bgr(Box(14, 8, 18, 12)).astype(int).mean((0, 1)), (30, 60, 200), atol=3)
