from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.engines.viseme import frame_record
from musetalk_core.engines.viseme.record_smoothing import choose_teeth_references, smooth_records

RATE = Fraction(25)


def rows(count, **columns):
    """Records of a calm face; keywords name columns."""
    out = np.zeros((count, frame_record.SIZE), np.float32)
    out[:, frame_record.HEIGHT] = 200
    out[:, frame_record.SHARPNESS] = 0.2
    out[:, frame_record.SEAM] = np.linspace(-0.1, 0.15, 22)
    for name, values in columns.items():
        out[:, getattr(frame_record, name)] = values
    return out


def test_a_trembling_face_height_comes_to_rest():
    heights = 200 + 4 * np.random.default_rng(0).standard_normal(200)

    out = smooth_records(rows(200, HEIGHT=heights), [0] * 200, RATE)[:, frame_record.HEIGHT]

    assert np.abs(np.diff(out)).max() < 0.1 * np.abs(np.diff(heights)).max()
    assert out.mean() == pytest.approx(200, abs=1)


def test_nothing_is_carried_over_a_cut():
    records = rows(100)
    records[50:, frame_record.HEIGHT] = 400
    records[50:, frame_record.SEAM] += 0.05

    out = smooth_records(records, [0] * 50 + [1] * 50, RATE)

    np.testing.assert_allclose(out, records, rtol=1e-4)


def test_frames_without_a_face_become_zeros_and_do_not_spoil_the_others():
    records = rows(60)
    records[20:30] = np.nan
    shots = [0] * 20 + [-1] * 10 + [0] * 30

    out = smooth_records(records, shots, RATE)

    assert not out[20:30].any()
    np.testing.assert_allclose(out[:20], records[:20], rtol=1e-4)
    assert np.isfinite(out).all()


def test_a_talking_seam_is_calmed_but_a_lasting_change_stays():
    records = rows(200)
    records[:, 20] += 0.03 * np.sin(np.arange(200) * 1.3)  # speech: a few times a second
    records[100:, 15] += 0.05  # expression: lasts

    out = smooth_records(records, [0] * 200, RATE)

    assert np.ptp(out[20:80, 20]) < 0.5 * np.ptp(records[20:80, 20])
    assert out[180, 15] - out[20, 15] == pytest.approx(0.05, abs=0.002)


def test_the_seam_keeps_its_pixels_when_the_height_is_smoothed():
    records = rows(60, HEIGHT=np.where(np.arange(60) % 2, 190, 210))
    records[:, frame_record.SEAM] = 20 / records[:, [frame_record.HEIGHT]]

    out = smooth_records(records, [0] * 60, RATE)

    np.testing.assert_allclose(out[:, frame_record.SEAM] * out[:, [frame_record.HEIGHT]], 20, rtol=0.015)


def test_long_shots_are_smoothed_without_seams_between_blocks():
    records = rows(1300)
    records[:, frame_record.SEAM] += np.linspace(0, 0.1, 1300, dtype=np.float32)[:, None]

    out = smooth_records(records, [0] * 1300, RATE)

    np.testing.assert_allclose(out[40:-40], records[40:-40], atol=2e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(24000, 1001), Fraction(1, 2), Fraction(120)])
def test_short_shots_of_a_calm_face_stay_as_they_are(count, rate):
    np.testing.assert_allclose(smooth_records(rows(count), [3] * count, rate), rows(count), rtol=1e-4)


def test_a_donor_is_the_widest_sharp_frontal_smile_of_its_shot():
    records = rows(40, GAP=0.03, TEETH=0.5)
    records[5, frame_record.GAP] = 0.09  # widest, but turned away
    records[5, frame_record.YAW] = 30
    records[9, frame_record.GAP] = 0.08  # blurred
    records[9, frame_record.SHARPNESS] = 0.02
    records[17, frame_record.GAP] = 0.06
    records[33, frame_record.GAP] = 0.05

    assert choose_teeth_references(records, [0] * 20 + [1] * 20) == {0: 17, 1: 33}


def test_a_shot_that_shows_no_teeth_has_no_donor():
    records = rows(30, GAP=0.06, TEETH=0.02)
    records[20:, frame_record.TEETH] = 0.6

    assert choose_teeth_references(records, [0] * 10 + [-1] * 10 + [2] * 10) == {2: 20}
