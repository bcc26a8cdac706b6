"""Landmarks over time: smooth in seconds, apart at cuts and gaps, the same in blocks as at once."""

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.faces.landmark_smoothing import smooth_landmark_file, smooth_landmarks
from musetalk_core.faces.mesh_topology import MESH_POINTS


def noisy(frames, seed=0):
    """(T, 468, 2) of a face that stands still, with jitter of 1 pixel."""
    return np.float32(100 + np.random.default_rng(seed).standard_normal((frames, 468, 2)))


def at(fps, frames):
    return np.arange(frames) / fps


def one_shot(frames):
    return np.zeros(frames, np.int32)


@pytest.mark.parametrize(("fps", "left"), [(25, 0.50), (50, 0.36)])
def test_jitter_shrinks_more_where_there_are_more_frames_in_the_same_time(fps, left):
    raw = noisy(200)

    out = smooth_landmarks(raw, at(fps, 200), one_shot(200))

    # A Gaussian of sigma s frames leaves 1 / sqrt(2 s sqrt(pi)) of white noise.
    assert out.std() / raw.std() == pytest.approx(left, abs=0.04)


def test_steady_movement_is_not_delayed():
    raw = np.float32(np.arange(60)[:, None, None] * 2 + np.zeros((60, 468, 2)))

    out = smooth_landmarks(raw, at(25, 60), one_shot(60))

    np.testing.assert_allclose(out[5:-5], raw[5:-5], atol=1e-3)


def test_nothing_leaks_across_a_cut():
    raw = np.concatenate([np.zeros((10, 468, 2)), np.full((10, 468, 2), 500)]).astype(np.float32)
    shots = np.repeat([3, 4], 10)

    np.testing.assert_allclose(smooth_landmarks(raw, at(25, 20), shots), raw, rtol=1e-6)


def test_a_gap_stays_a_gap_and_separates_its_sides():
    raw = np.concatenate([np.zeros((5, 468, 2)), np.full((1, 468, 2), np.nan), np.full((5, 468, 2), 9.0)])
    raw = raw.astype(np.float32)

    out = smooth_landmarks(raw, at(25, 11), one_shot(11))

    np.testing.assert_allclose(out, raw, rtol=1e-6)  # NaN equals NaN here


def test_uneven_times_weigh_by_seconds_not_by_frames():
    raw, times = np.zeros((3, 468, 2), np.float32), np.array([0.0, 0.02, 10.0])
    raw[1], raw[2] = 1, 7

    out = smooth_landmarks(raw, times, one_shot(3))

    weight = np.exp(-0.5 * (0.02 / 0.045) ** 2)
    np.testing.assert_allclose(out[:, 0, 0], [weight / (1 + weight), 1 / (1 + weight), 7], rtol=1e-5)


def test_a_file_in_blocks_equals_the_array_at_once_and_a_plain_loop(tmp_path):
    frames = 1100  # more than two blocks
    raw, times = noisy(frames), at(30, frames)
    raw[[100, 511, 512]] = np.nan
    shots = (np.arange(frames) // 300).astype(np.int32)
    (tmp_path / "raw").write_bytes(raw.tobytes())

    smooth_landmark_file(tmp_path / "raw", tmp_path / "out", times, shots, MESH_POINTS)

    out = np.fromfile(tmp_path / "out", "<f4").reshape(raw.shape)
    np.testing.assert_array_equal(out, smooth_landmarks(raw, times, shots))
    runs = np.cumsum(np.isnan(raw[:, 0, 0])) + 1000 * shots
    for i in (0, 99, 101, 299, 300, 510, 513, 700, 1099):
        near = (np.abs(times - times[i]) <= 3 * 0.045 + 1e-9) & (runs == runs[i]) & ~np.isnan(raw[:, 0, 0])
        weight = np.exp(-0.5 * ((times[near] - times[i]) / 0.045) ** 2)
        np.testing.assert_allclose(out[i, 7], weight @ raw[near, 7] / weight.sum(), rtol=1e-5)


def test_zero_width_changes_nothing():
    raw = noisy(4)

    np.testing.assert_array_equal(smooth_landmarks(raw, at(25, 4), one_shot(4), sigma_s=0), raw)


def test_no_frames_are_no_frames(tmp_path):
    (tmp_path / "raw").write_bytes(b"")

    smooth_landmark_file(tmp_path / "raw", tmp_path / "out", at(25, 0), one_shot(0), MESH_POINTS)

    assert (tmp_path / "out").read_bytes() == b""


def test_a_file_of_another_length_is_refused(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(468 * 8))

    with pytest.raises(InputError, match="one row per frame"):
        smooth_landmark_file(tmp_path / "raw", tmp_path / "out", at(25, 2), one_shot(2), MESH_POINTS)
