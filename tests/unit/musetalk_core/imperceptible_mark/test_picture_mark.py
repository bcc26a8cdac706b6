"""The mark in pictures: bounds, robustness and false alarms."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.imperceptible_mark.evidence import MAX_FALSE_ALARM, evidence_of, strongest
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.picture_detector import PictureMean, detect_in_pictures
from musetalk_core.imperceptible_mark.picture_marker import MAX_CHANGE, PictureMarker
from musetalk_core.imperceptible_mark.picture_pattern import SHORT_SIDE, grid_size
from musetalk_core.media.image.yuv_picture import Picture

KEY, OTHER_KEY = MarkKey(b"k" * 32), MarkKey(b"o" * 32)
PICTURES = Path(__file__).resolve().parents[3] / "assets" / "pictures"


@pytest.fixture(scope="module")
def luma(portrait):
    """A portrait of 540 lines."""
    grey = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (960, 960), interpolation=cv2.INTER_CUBIC)[100:640]


@pytest.fixture(scope="module")
def marked(luma):
    return PictureMarker(KEY, luma.shape[1], luma.shape[0]).mark_luma(luma)


def detect(*lumas, key=KEY):
    mean = PictureMean()
    for one in lumas:
        mean.add(one)
    return detect_in_pictures([mean], key)


def jpeg(luma, quality):
    return cv2.imdecode(cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)


def test_no_sample_changes_by_more_than_three_levels_and_chroma_not_at_all(portrait):
    picture = Picture.from_bgr(portrait)

    out = PictureMarker(KEY, picture.width, picture.height)(picture)

    assert np.abs(out.y.astype(int) - picture.y).max() <= MAX_CHANGE == 3
    np.testing.assert_array_equal(out.u, picture.u)
    np.testing.assert_array_equal(out.v, picture.v)
    assert (out.y != picture.y).mean() > 0.3


@pytest.mark.parametrize(
    "content", ["texture", "flat", "black", "white", *sorted(p.name for p in PICTURES.glob("*.jpg"))]
)
def test_the_peak_signal_to_noise_ratio_is_at_least_45_db(content):
    shape = 360, 640
    made = {
        "texture": np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        "flat": np.full(shape, 128, np.uint8),
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
    }
    luma = made[content] if content in made else cv2.imread(str(PICTURES / content), 0)

    out = PictureMarker(KEY, luma.shape[1], luma.shape[0]).mark_luma(luma)

    error = np.mean((out.astype(float) - luma) ** 2)
    assert 10 * np.log10(255**2 / error) >= 45


def test_it_is_found_with_the_key_and_only_with_it(luma, marked):
    assert detect(marked).found
    assert not detect(marked, key=OTHER_KEY).found
    assert not detect(luma).found


def test_the_same_picture_and_key_give_the_same_bytes(luma, marked):
    again = PictureMarker(MarkKey(b"k" * 32), luma.shape[1], luma.shape[0]).mark_luma(luma)

    np.testing.assert_array_equal(again, marked)


def test_a_cut_gets_a_strength_of_its_own_and_a_run_of_pictures_the_same_bytes(luma, marked):
    marker, flat = PictureMarker(KEY, luma.shape[1], luma.shape[0]), np.full_like(luma, 128)

    outs = [marker.mark_luma(one) for one in (flat, luma, flat, flat)]

    np.testing.assert_array_equal(outs[1], marked)
    np.testing.assert_array_equal(outs[3], outs[0])


def test_it_does_not_flicker(luma):
    """Noise of the camera changes the marks of two frames only by rounding, except in clipped samples."""
    luma = np.clip(luma, 16, 235)
    marker, noise = PictureMarker(KEY, luma.shape[1], luma.shape[0]), np.random.default_rng(0)
    frames = [np.clip(luma + noise.normal(0, 2, luma.shape), 0, 255).astype(np.uint8) for _ in range(2)]

    first, second = (marker.mark_luma(one).astype(int) - one for one in frames)

    assert np.abs(first - second).max() <= 1
    assert (first != second).mean() < 0.02


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("compressed", lambda y: jpeg(y, 60)),
        ("360 lines", lambda y: jpeg(cv2.resize(y, (640, 360), interpolation=cv2.INTER_AREA), 80)),
        ("enlarged", lambda y: cv2.resize(y, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)),
        ("cropped", lambda y: jpeg(y[31:-23, 50:-46], 85)),
        ("cropped and enlarged", lambda y: cv2.resize(y[20:-34, 40:-56], (960, 540))),
        ("mirrored", lambda y: jpeg(y[:, ::-1], 85)),
        ("bordered", lambda y: cv2.copyMakeBorder(y, 30, 30, 53, 53, cv2.BORDER_CONSTANT)),
        (
            "noisy",
            lambda y: np.clip(y + np.random.default_rng(1).normal(0, 6, y.shape), 0, 255).astype(np.uint8),
        ),
        ("brighter", lambda y: np.clip(y * 1.2 + 10, 0, 255).astype(np.uint8)),
    ],
)
def test_it_survives(marked, name, change):
    del name
    assert detect(np.ascontiguousarray(change(marked))).found


def test_a_part_of_a_video_is_enough(luma, marked):
    """The marked part is one of six; the others are other pictures."""
    means = [PictureMean() for _ in range(6)]
    for number, mean in enumerate(means):
        mean.add(marked if number == 4 else np.roll(luma, 97 * number, axis=1))

    assert detect_in_pictures(means, KEY).found


@pytest.mark.parametrize("size", [(2, 2), (64, 48), (16, 4096), (4096, 16)])
def test_pictures_of_any_size_are_marked_in_bounded_memory(size):
    luma = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)

    out = PictureMarker(KEY, *size).mark_luma(luma)

    assert out.shape == luma.shape
    assert max(grid_size(*size)) <= 4 * SHORT_SIDE
    assert not detect(luma).found


def test_scores_of_unmarked_pictures_are_as_the_theory_says(luma):
    """The score of a fixed picture under random keys has mean 0 and variance 1."""
    mean = PictureMean()
    mean.add(luma)
    from musetalk_core.imperceptible_mark import picture_detector as detector

    folded = detector._fold(detector._equalize(mean.value()))
    scores = [detector._aligned_score(folded, MarkKey(n.to_bytes(32))) for n in range(200)]

    assert abs(np.mean(scores)) < 0.3
    assert 0.8 < np.std(scores) < 1.2


def test_evidence_is_a_bound_that_grows_with_the_search():
    assert evidence_of(5.3, 1).found
    assert not evidence_of(5.3, 100).found
    assert evidence_of(-9.0, 1).false_alarm_bound == 1
    assert strongest([evidence_of(5.3, 1)] * 2).false_alarm_bound == pytest.approx(
        2 * evidence_of(5.3, 1).false_alarm_bound
    )
    assert not strongest([]).found
    assert MAX_FALSE_ALARM == 1e-6


def test_a_key_is_not_shown_and_is_long_enough():
    assert "6b6b" not in repr(KEY)
    assert "kkk" not in repr(KEY)
    assert KEY.id not in {OTHER_KEY.id, KEY.secret.hex()[:16]}
    with pytest.raises(InputError):
        MarkKey(b"short")
