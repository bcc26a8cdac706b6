"""The timeline: which source frame is shown when, without drift."""

from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.media.video.frame_index import VideoIndex, still_index
from musetalk_core.media.video.timeline import source_frames, source_frames_between

NTSC = Fraction(30000, 1001)
RATES = [Fraction(24), Fraction(25), Fraction(24000, 1001), NTSC, Fraction(30), Fraction(50), Fraction(60)]


def clip(frames, rate, base=None, start=0):
    """A constant clip whose timestamps are rounded to its time base."""
    base = base or 1 / rate
    ticks = [round(number / rate / base) for number in range(frames + 1)]
    pts = np.array(ticks[:-1], np.int64) + start
    return VideoIndex(pts, pts == start, base, ticks[-1], 64, 48, rate, True, False)


def uneven(pts, duration):
    pts = np.array(pts, np.int64)
    return VideoIndex(pts, pts == pts[0], Fraction(1, 1000), duration, 64, 48, Fraction(25), True, False)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("base", [None, Fraction(1, 1000), Fraction(1, 90_000)])
def test_equal_rates_play_the_list_and_its_reverse_for_ever(rate, base):
    index = clip(7, rate, base, start=1234)
    once = [*range(7), *reversed(range(7))]
    times = source_frames(100_000, rate, index)
    assert times.tolist() == (once * 7143)[:100_000]


def test_a_slice_is_a_slice():
    index = clip(50, Fraction(25))
    whole = source_frames(1000, NTSC, index)
    np.testing.assert_array_equal(source_frames_between(333, 777, NTSC, index), whole[333:777])


def test_looping_starts_over():
    assert source_frames(7, Fraction(25), clip(3, Fraction(25)), "loop").tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_doubling_the_rate_doubles_every_frame():
    times = source_frames(12, Fraction(50), clip(3, Fraction(25)))
    assert times.tolist() == [0, 0, 1, 1, 2, 2, 2, 2, 1, 1, 0, 0]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("source", RATES)
def test_every_frame_is_the_one_on_screen_in_exact_arithmetic(rate, source):
    index = clip(11, source)
    for number, found in enumerate(source_frames(2000, rate, index).tolist()):
        place = (number + Fraction(1, 2)) / rate * source % 22
        exact = int(place) if place < 11 else 22 - 1 - int(place)
        assert found == exact


def test_uneven_clips_follow_their_timestamps_in_both_directions():
    index = uneven([0, 10, 200, 220], 300)
    times = source_frames(60, Fraction(100), index).tolist()
    there = [0] + [1] * 19 + [2] * 2 + [3] * 8
    assert times == there + there[::-1]


def test_an_hour_does_not_drift():
    index = clip(3600 * 24, Fraction(24000, 1001), Fraction(1, 1000))
    last = 30 * 3600 - 1
    found = source_frames_between(last, last + 1, NTSC, index)[0]
    assert found == int((last + Fraction(1, 2)) / NTSC * Fraction(24000, 1001))


def test_huge_numbers_do_not_overflow():
    rate = Fraction(2**31 - 1, 2**26 + 1)
    index = uneven([0, 10, 200, 220], 300)
    index = VideoIndex(index.pts, index.keys, Fraction(1, 2**31 - 1), 300, 64, 48, rate, True, False)
    stop = 10**7
    found = source_frames_between(stop - 1, stop, rate, index)[0]
    place = int((stop - Fraction(1, 2)) / rate / index.time_base) % 600
    assert found == index.frames_at(np.array([place if place < 300 else 599 - place]))[0]


def test_a_still_is_always_its_one_frame():
    assert source_frames(5, Fraction(25), still_index(64, 48, Fraction(25))).tolist() == [0] * 5


def test_nothing_is_asked_nothing_given():
    assert len(source_frames(0, Fraction(25), clip(3, Fraction(25)))) == 0


@pytest.mark.parametrize(("start", "stop", "rate"), [(5, 4, 25), (-1, 4, 25), (0, 4, 0)])
def test_senseless_slices_are_refused(start, stop, rate):
    with pytest.raises(InputError):
        source_frames_between(start, stop, Fraction(rate), clip(3, Fraction(25)))
