"""Cutting long speech at its quietest points."""

from itertools import pairwise

import numpy as np

from musetalk_core.formats.pcm import PcmArray
from musetalk_core.speech.audio.segments import rms_levels, split_at_pauses

RATE = 16000


def noise(seconds):
    return np.float32(0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE)))


def test_a_short_recording_is_one_piece():
    assert list(split_at_pauses(PcmArray(noise(3)))) == [(0, 3 * RATE)]


def test_nothing_is_no_piece():
    assert list(split_at_pauses(PcmArray(noise(0)))) == []


def test_pieces_join_without_gaps_and_none_is_too_long():
    pieces = list(split_at_pauses(PcmArray(noise(25)), max_segment_s=4))

    assert pieces[0][0] == 0
    assert pieces[-1][1] == 25 * RATE
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
    assert all(0 < stop - start <= 4 * RATE for start, stop in pieces)


def test_the_cut_lies_in_a_pause():
    sound = noise(12)
    sound[int(7.0 * RATE) : int(7.5 * RATE)] = 0

    (first, *_) = split_at_pauses(PcmArray(sound), max_segment_s=10)

    assert 7.0 * RATE < first[1] < 7.5 * RATE


def test_levels_are_root_mean_squares():
    np.testing.assert_allclose(rms_levels(np.full(480, 0.5, np.float32)), 0.5)
