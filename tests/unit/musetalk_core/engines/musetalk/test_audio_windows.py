"""Encoder rows in a frame's audio window: the exact rule and the original's."""

from fractions import Fraction

import numpy as np
import pytest
from golden_data import golden_cases, load

from musetalk_core.engines.musetalk.audio_windows import (
    upstream_frame_count,
    upstream_row_count,
    upstream_rows,
    window_rows,
    window_width,
)
from musetalk_core.errors import InputError
from musetalk_core.formats.pcm import row_count
from musetalk_core.rendering.chunking import plan_chunks

EXACT = {"24": Fraction(24), "25": Fraction(25), "29.97": Fraction(30000, 1001), "30": Fraction(30)}
NTSC = EXACT["29.97"]


def case(folder, name):
    clip, fps = name.split("/n_frames_fps")
    arrays = load(folder, "audio")
    return arrays, clip, fps, int(arrays[f"{clip}/start_n"][1]), arrays[name]


def listed(arrays, clip, kind, fps):
    """Rows of the table and the frames they belong to."""
    rows = arrays[f"{clip}/rows_{kind}_fps{fps}"]
    return rows, arrays.get(f"{clip}/frames_{kind}_fps{fps}", np.arange(len(rows)))


@pytest.mark.parametrize("fps", EXACT)
@pytest.mark.parametrize(("folder", "clip"), golden_cases("audio", "*/start_n"))
def test_the_exact_rule(folder, clip, fps):
    arrays, _, _, samples, (_, frames) = case(folder, f"{clip}/n_frames_fps{fps}")
    rows, numbers = listed(arrays, clip, "exact", fps)

    if frames:
        assert plan_chunks(samples, EXACT[fps], 10).frames == frames
    else:
        with pytest.raises(InputError, match="shorter than one"):
            plan_chunks(samples, EXACT[fps], 10)
    found = window_rows(0, int(frames), EXACT[fps], row_count(samples))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found[numbers], rows)


@pytest.mark.parametrize("fps", EXACT)
@pytest.mark.parametrize(("folder", "clip"), golden_cases("audio", "*/start_n"))
def test_the_original(folder, clip, fps):
    arrays, _, _, samples, (frames, _) = case(folder, f"{clip}/n_frames_fps{fps}")

    if frames < 0:
        with pytest.raises(InputError, match="the original"):
            upstream_frame_count(samples, float(fps))
        return
    rows, numbers = listed(arrays, clip, "original", fps)
    assert upstream_frame_count(samples, float(fps)) == frames
    found = upstream_rows(0, int(frames), float(fps), upstream_row_count(samples))
    np.testing.assert_array_equal(found[numbers], rows)


@pytest.mark.parametrize("rate", [Fraction(10), NTSC, Fraction(60000, 1001), Fraction(120), Fraction(1, 3)])
def test_the_exact_window_is_the_same_at_every_rate(rate):
    rows = window_rows(100, 200, rate, 10**6)

    own = [frame * 50 * rate.denominator // rate.numerator for frame in range(100, 200)]
    np.testing.assert_array_equal(rows[:, 0], np.array(own) - 4)
    np.testing.assert_array_equal(np.diff(rows, axis=1), 1)


def test_an_hour_of_ntsc_does_not_drift():
    samples = 3600 * 16000
    frames = plan_chunks(samples, NTSC, 10).frames
    last = window_rows(frames - 1, frames, NTSC, row_count(samples))[0]

    time_of_frame, time_of_row = (frames - 1) / NTSC, Fraction(int(last[4]), 50)
    assert frames == 107892
    assert 0 <= time_of_frame - time_of_row < Fraction(1, 50)
    assert row_count(samples) == 180_000


def test_an_hour_of_the_original_drifts_by_two_minutes():
    samples = 3600 * 16000
    frames = upstream_frame_count(samples, 29.97)

    assert frames == 104_400
    assert 3600 - frames / 29.97 > 116


@pytest.mark.parametrize(("left", "right", "first"), [(0, 0, 0), (10, 10, -20), (0, 10, 0), (10, 0, -20)])
def test_paddings_widen_the_window(left, right, first):
    rows = window_rows(50, 51, Fraction(25), 1000, left, right)

    assert rows.shape == (1, window_width(left, right))
    np.testing.assert_array_equal(rows[0], np.arange(rows.shape[1]) + 100 + first)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (10, 10), (3, 1)])
def test_paddings_of_the_original_agree_at_25_fps(left, right):
    samples = 5 * 16000
    frames = upstream_frame_count(samples, 25, left, right)

    np.testing.assert_array_equal(
        upstream_rows(0, frames, 25, upstream_row_count(samples), left, right),
        window_rows(0, frames, Fraction(25), row_count(samples), left, right),
    )


@pytest.mark.parametrize("padding", [(-1, 2), (2, 11)])
def test_other_paddings_are_refused(padding):
    with pytest.raises(InputError, match="audio paddings"):
        window_rows(0, 1, Fraction(25), 10, *padding)
    with pytest.raises(InputError, match="audio paddings"):
        upstream_frame_count(16000, 25, *padding)


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(InputError, match="positive"):
        window_rows(0, 1, Fraction(0), 10)


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(60000, 1001)])
def test_speech_shorter_than_a_frame_is_refused(rate):
    with pytest.raises(InputError, match="shorter than one video frame"):
        plan_chunks(7, rate, 10)
    with pytest.raises(InputError):
        upstream_frame_count(7, float(rate))


def test_a_frame_without_a_whole_row_of_speech_hears_silence():
    rate, samples = Fraction(60000, 1001), 300

    assert plan_chunks(samples, rate, 10).frames == 1
    assert row_count(samples) == 0
    assert (window_rows(0, 1, rate, 0) == -1).all()


@pytest.mark.parametrize(
    ("samples", "fps", "ends"),
    [
        (1279, 25, "error"),
        (1280, 25, "fine"),
        (1599, 48, "error"),
        (16000, 50, "error"),
        (16000, 100, "error"),
        (16000, 0.5, "error"),
        (16000, 10, "fine"),
        (16000, 7, "fine"),
    ],
)
def test_the_original_ends_with_an_error_where_it_is_known_to(samples, fps, ends):
    if ends == "error":
        with pytest.raises(InputError):
            upstream_frame_count(samples, fps)
    else:
        assert upstream_frame_count(samples, fps) == samples * fps // 16000


def test_ten_frames_a_second_of_the_original_hear_no_future():
    rows = upstream_rows(5, 6, 10, 100)[0]

    assert rows[-1] == 5 * 5 - 1
    assert window_rows(5, 6, Fraction(10), 100)[0, -1] == 5 * 5 + 5


def test_frames_the_original_has_not_hear_zeros_in_the_end():
    assert upstream_frame_count(16000, 25) == 25
    assert (upstream_rows(40, 41, 25, 50) == -1).all()


def test_a_rate_below_one_is_none():
    with pytest.raises(InputError, match="below 1"):
        upstream_rows(0, 1, 0.5, 50)
