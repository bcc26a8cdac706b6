"""The choice of frames: at most three seconds, lively speech of both halves and the longest pause."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from musetalk_core.quality.windows import Window, plan_windows

RATE = Fraction(25)


def curves_of(frames, talking=()):
    out = np.zeros((frames, 3), np.float32)
    for start, stop in talking:
        out[start:stop, 0] = 0.35 + 0.3 * np.sin(np.arange(stop - start))
    return out


def measured(windows):
    return sum(stop - start for start, stop in windows)


def test_a_short_video_is_measured_as_a_whole():
    assert plan_windows(curves_of(75), RATE) == [Window(0, 75)]
    assert plan_windows(curves_of(0), RATE) == []


@pytest.mark.parametrize("frames", [76, 200, 90_000])
def test_at_most_three_seconds_are_measured(frames):
    for talking in ([], [(0, frames)], [(0, frames // 3), (frames // 2, frames)]):
        windows = plan_windows(curves_of(frames, talking), RATE)

        assert 0 < measured(windows) <= 75
        assert all(a.stop < b.start for a, b in pairwise(windows))
        assert all(0 <= start < stop <= frames for start, stop in windows)


def test_speech_of_both_halves_and_the_longest_pause_are_measured():
    windows = plan_windows(curves_of(1000, [(100, 160), (200, 210), (700, 760), (765, 1000)]), RATE)

    assert len(windows) == 3
    speech, pause, later = windows
    assert 100 <= speech.start < 160 and later.start >= 700
    assert 210 <= pause.start < pause.stop <= 700
    assert pause.stop - pause.start == 15


def test_frames_below_an_opening_card_are_left_out():
    windows = plan_windows(curves_of(400, [(0, 400)]), RATE, first=75)

    assert windows[0].start >= 75 and measured(windows) > 60
    assert plan_windows(curves_of(60), RATE, first=75) == []


def test_the_budget_is_a_parameter():
    assert measured(plan_windows(curves_of(1000, [(0, 1000)]), RATE, seconds=1)) <= 25
