"""The measure of lip sync: it tells right from wrong, late from early, open from shut."""

from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.quality.lip_sync_score import (
    closed_share,
    lip_aperture,
    lip_apertures,
    lip_width,
    movement_share,
    rounding_share,
    score_against_wrong,
    sync_score,
)
from musetalk_core.speech.phones import Phone

FPS = Fraction(25)


def talk(frames=200, seed=0):
    """A curve that opens and shuts about four times a second."""
    rough = np.random.default_rng(seed).random(frames + 8)
    return np.float32(np.clip(np.convolve(rough, np.hanning(7) / 3, "same")[4:-4] * 2 - 1.2, 0, 1))


def lips(curve, late=0):
    """Return simulated lip apertures of a mouth that follows the curve `late` frames late."""
    noise = 0.002 * np.random.default_rng(9).standard_normal(len(curve))
    return np.float32(0.02 + 0.06 * np.roll(curve, late) + noise)


def test_a_mouth_that_follows_scores_high_and_says_how_late_it_is():
    curve = talk()

    for late in (-2, 0, 1):
        score = sync_score(lips(curve, late), curve)
        assert score.correlation > 0.95
        assert score.lag_frames == late


def test_a_mouth_that_is_too_late_scores_low():
    curve = talk()

    assert sync_score(lips(curve, 6), curve).correlation < 0.5


def test_the_right_speech_stands_out_from_wrong_ones():
    curve = talk()

    contrast = score_against_wrong(lips(curve), curve, [talk(150, seed) for seed in range(1, 6)])

    assert contrast.margin > 0.4
    assert contrast.wrong_max < contrast.right.correlation
    assert contrast.wrong_mean <= contrast.wrong_max


def test_a_grin_that_trembles_with_the_speech_correlates_and_does_not_move():
    """The correlation alone is that of a mouth that speaks."""
    curve = talk()
    grin = np.float32(0.06 + 0.002 * curve)

    assert sync_score(grin, curve).correlation > 0.95
    assert movement_share(grin) < 0.08
    assert movement_share(lips(curve)) > 10 * movement_share(grin)


def test_the_movement_is_a_share_of_that_of_speech_and_leaves_frames_without_a_face_out():
    half = np.float32(np.linspace(0.02, 0.02 + 0.015 / 0.9, 101))
    assert movement_share(half) == pytest.approx(0.5, abs=0.01)
    assert movement_share(np.concatenate([half, np.full(50, np.nan, np.float32)])) == pytest.approx(
        0.5, abs=0.01
    )
    assert movement_share(np.full(9, np.nan, np.float32)) == 0.0
    assert rounding_share(half) == pytest.approx(0.5, abs=0.01)
    assert rounding_share(np.full(30, 0.3, np.float32)) == 0.0, "a mouth that never rounds"


def test_a_still_mouth_scores_nothing():
    assert sync_score(np.full(50, 0.03, np.float32), talk(50)).correlation == 0


def test_frames_without_a_face_are_left_out():
    curve = talk()
    seen = lips(curve)
    seen[40:90] = np.nan

    assert sync_score(seen, curve).correlation > 0.95
    assert sync_score(np.full(200, np.nan, np.float32), curve).correlation == 0


def test_other_lengths_are_refused_but_one_frame_is_forgiven():
    assert sync_score(lips(talk()), talk()[:-1]).correlation > 0.9
    with pytest.raises(InputError, match="do not match"):
        sync_score(lips(talk()), talk(100))
    with pytest.raises(InputError, match="at least one other speech"):
        score_against_wrong(lips(talk()), talk(), [])


def test_bilabials_count_as_closed_by_their_narrowest_frame():
    seen = np.full(50, 0.06, np.float32)
    seen[[10, 30]] = 0.02, 0.045
    known = [Phone(0.38, 0.44, "P"), Phone(1.18, 1.24, "M"), Phone(0.5, 0.7, "AA")]

    share = closed_share(seen, known, FPS, shut=0.02)

    assert share.bilabials == 0.5
    assert closed_share(seen, known, FPS, bound=0.03, shut=0.02).bilabials == 1


def test_pauses_count_frame_by_frame():
    seen = np.full(50, 0.06, np.float32)
    seen[:25] = 0.02
    seen[10] = 0.07

    share = closed_share(seen, [Phone(0.0, 1.0, ""), Phone(1.0, 2.0, "AA")], FPS)

    assert share.shut == pytest.approx(0.02)
    assert 0.9 < share.silences < 1


def test_nothing_to_close_is_all_closed():
    share = closed_share(np.full(10, np.nan, np.float32), [Phone(0, 0.4, "AA")], FPS)

    assert (share.bilabials, share.silences, share.shut) == (1, 1, 0)


def test_the_smile_of_a_portrait_reads_as_slightly_open(portrait, portrait_mesh):
    values = lip_apertures(
        [Picture.from_bgr(portrait), Picture.from_bgr(np.full((512, 512, 3), 90, np.uint8))]
    )

    assert values.dtype == np.float32
    assert values[0] == pytest.approx(lip_aperture(portrait_mesh), rel=0.15)
    assert 0.05 < values[0] < 0.1
    assert 0.3 < lip_width(portrait_mesh) < 0.5, "a smile is wide"
    assert np.isnan(values[1])
