from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.speech.phones import Phone
from musetalk_core.speech.tongue_curve import tongue_curve

RATE = Fraction(25)
PHONES = [Phone(0.0, 0.4, "AA"), Phone(0.4, 0.6, "TH"), Phone(0.6, 1.0, "M"), Phone(1.2, 1.3, "L")]


def test_the_tongue_shows_at_th_and_less_at_l():
    curve = tongue_curve(PHONES, 40, RATE)

    assert curve.dtype == np.float32
    assert curve[11:14].min() == pytest.approx(1)
    assert 0.5 < curve[29:33].max() < 0.8
    assert not curve[:7].any() and not curve[18:26].any()


def test_it_rises_and_falls_gradually():
    curve = tongue_curve(PHONES, 40 * 8, RATE * 8)

    assert np.abs(np.diff(curve)).max() < 0.2


def test_phones_beyond_the_video_and_no_phones_are_fine():
    assert tongue_curve([Phone(5, 6, "TH"), Phone(0.9, 2.0, "L")], 25, RATE).shape == (25,)
    assert not tongue_curve([], 25, RATE).any()
