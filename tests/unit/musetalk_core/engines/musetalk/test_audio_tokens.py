"""Audio tokens of a frame, the audio input of the network."""

from fractions import Fraction

import numpy as np
import pytest
from golden_data import golden_cases, golden_sets, load

from musetalk_core.engines.musetalk.audio_windows import (
    gather_tokens,
    positional_encoding,
    upstream_rows,
    window_rows,
)


class Reader:
    """Rows that can only be read in slices, and remember which."""

    def __init__(self, rows):
        self._rows, self.read = rows, []

    def __getitem__(self, key):
        self.read.append(key)
        return self._rows[key]


def states(rows):
    return np.random.default_rng(0).standard_normal((rows, 5, 384)).astype(np.float32)


@pytest.mark.parametrize("folder", golden_sets())
def test_the_table_of_positions(folder):
    table = positional_encoding()

    assert table.dtype == np.float32
    np.testing.assert_allclose(table, load(folder, "audio")["pe_first50"], atol=1e-5)
    np.testing.assert_array_equal(positional_encoding(210)[:50], table)


def test_the_table_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        positional_encoding()[0] = 0


def test_states_of_a_row_stay_together_and_rows_in_order():
    rows, data = window_rows(3, 6, Fraction(25), 50), states(50)

    out = gather_tokens(data, rows, with_positions=False)

    assert out.shape == (3, 50, 384)
    assert out.dtype == np.float32
    for token in range(50):
        np.testing.assert_array_equal(out[1, token], data[rows[1, token // 5], token % 5])


def test_absent_rows_are_zeros_but_have_a_position():
    rows, data = window_rows(0, 1, Fraction(25), 3), states(3)

    out = gather_tokens(data, rows)

    np.testing.assert_array_equal(out[0, :20], positional_encoding()[:20])
    np.testing.assert_array_equal(out[0, 35:], positional_encoding()[35:])
    assert (out[0, 20:35] != positional_encoding()[20:35]).mean() > 0.99


def test_nothing_at_all_is_silence():
    reader = Reader(states(0))

    out = gather_tokens(reader, np.full((2, 10), -1), with_positions=False)

    assert out.shape == (2, 50, 384)
    assert not out.any()
    assert reader.read == []


def test_only_the_rows_in_need_are_read_and_once():
    reader, data = Reader(states(1000)), states(1000)
    rows = window_rows(200, 208, Fraction(25), 1000)

    out = gather_tokens(reader, rows)

    assert reader.read == [slice(396, 420)]
    np.testing.assert_array_equal(out, gather_tokens(data, rows))
    np.testing.assert_array_equal(data, states(1000))


def test_half_floats_on_disk_are_fine(tmp_path):
    np.save(tmp_path / "a.npy", states(40).astype(np.float16))
    rows = window_rows(0, 4, Fraction(25), 40)

    out = gather_tokens(np.load(tmp_path / "a.npy", mmap_mode="r"), rows)

    assert out.dtype == np.float32
    np.testing.assert_allclose(out, gather_tokens(states(40), rows), atol=5e-3)


def test_wide_windows_make_more_tokens():
    out = gather_tokens(states(400), window_rows(50, 52, Fraction(25), 400, 10, 10))

    assert out.shape == (2, 210, 384)


@pytest.mark.parametrize(("folder", "fps"), golden_cases("audio", "one/chunks_fps*"))
def test_tokens_are_those_of_the_original(folder, fps, golden_states):
    arrays = load(folder, "audio")
    wanted = arrays[f"one/chunk_frames_fps{fps}"]
    rows = upstream_rows(0, 25 if fps == "25" else int(fps), float(fps), 50)[wanted]

    out = gather_tokens(golden_states("one"), rows, with_positions=False)

    np.testing.assert_allclose(out, arrays[f"one/chunks_fps{fps}"], atol=2e-4)


@pytest.mark.parametrize("folder", golden_sets())
def test_tokens_of_long_speech_are_those_of_the_original(folder, golden_states):
    arrays = load(folder, "audio")
    rows = window_rows(0, 782, Fraction(25), 1565)[arrays["long/chunk_frames_fps25"]]

    out = gather_tokens(golden_states("long"), rows, with_positions=False)

    np.testing.assert_allclose(out, arrays["long/chunks_fps25"], atol=2e-4)


@pytest.mark.parametrize(("folder", "_"), golden_cases("audio", "*_added"))
def test_positions_are_added_as_in_the_original(folder, _, golden_states):
    arrays = load(folder, "audio")
    fps, frame = (int(v) for v in arrays["pe_added_frame"])

    out = gather_tokens(golden_states("one"), window_rows(frame, frame + 1, Fraction(fps), 50))

    np.testing.assert_allclose(out[0], arrays["pe_added"], atol=2e-4)
