"""Pauses become silent, speech does not change, and it makes no difference how it is read."""

import itertools

import numpy as np
import pytest

from musetalk_core.formats.pcm import PcmArray
from musetalk_core.speech.audio.noise_gate import NoiseGate

RATE = 16_000


@pytest.fixture
def speech():
    """Two bursts of a tone around a noisy pause of one second."""
    random = np.random.default_rng(7)
    noise = (random.standard_normal(3 * RATE) * 0.001).astype(np.float32)
    tone = (0.3 * np.sin(np.arange(RATE) * 2 * np.pi * 220 / RATE)).astype(np.float32)
    noise[:RATE] += tone
    noise[2 * RATE :] += tone
    return noise


def test_a_noisy_pause_is_silent_but_for_its_edges(speech):
    heard = NoiseGate(PcmArray(speech)).read(0, len(speech))

    np.testing.assert_array_equal(heard[: RATE + 1500], speech[: RATE + 1500])
    assert not heard[int(1.12 * RATE) : int(1.88 * RATE)].any()
    np.testing.assert_array_equal(heard[2 * RATE - 1500 :], speech[2 * RATE - 1500 :])


def test_it_can_be_read_in_any_parts(speech):
    hushed = NoiseGate(PcmArray(speech))
    whole = hushed.read(-100, len(speech) + 100)

    edges = [-100, 1, 159, 160, 17_777, 20_001, 33_333, len(speech) + 100]
    parts = [hushed.read(a, b) for a, b in itertools.pairwise(edges)]

    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_short_pauses_belong_to_the_speech(speech):
    speech = np.concatenate([speech[:RATE], speech[RATE : RATE + 3200], speech[2 * RATE :]])

    np.testing.assert_array_equal(NoiseGate(PcmArray(speech)).read(0, len(speech)), speech)


def test_silence_from_beginning_to_end_is_silence():
    hushed = NoiseGate(PcmArray(np.full(RATE, 1e-5, np.float32)))

    assert not hushed.read(0, RATE).any()


def test_nothing_at_all():
    assert NoiseGate(PcmArray(np.zeros(0, np.float32))).read(0, 10).tolist() == [0.0] * 10
