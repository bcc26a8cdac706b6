"""From phones to mouth curves."""

import time
from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.speech.mouth_curves import mouth_curves
from musetalk_core.speech.phones import Phone

FPS = Fraction(25)


def phones(text, each_s=0.12, start_s=0.0):
    """Phones of equal length; '-' is silence."""
    names = text.split()
    return [
        Phone(start_s + i * each_s, start_s + (i + 1) * each_s, "" if n == "-" else n)
        for i, n in enumerate(names)
    ]


def tone(seconds, level=0.3):
    return np.float32(level * np.sin(np.arange(int(16000 * seconds)) * 0.2))


def test_open_vowels_open_and_rounded_ones_round():
    wide = mouth_curves(None, phones("- AA AA AA -"), 15, FPS)
    narrow = mouth_curves(None, phones("- UW UW UW -"), 15, FPS)

    assert wide[6, 0] > 0.85 > 0.4 > narrow[6, 0]
    assert narrow[6, 1] < -0.8 < -0.1 < wide[6, 1]


@pytest.mark.parametrize("name", ["P", "B", "M"])
@pytest.mark.parametrize("offset_s", [0.0, 0.013, 0.027])
@pytest.mark.parametrize("fps", [Fraction(12), FPS, Fraction(30000, 1001), Fraction(60)])
def test_no_short_bilabial_is_lost(name, offset_s, fps):
    known = [
        Phone(0, 0.4 + offset_s, "AA"),
        Phone(0.4 + offset_s, 0.44 + offset_s, name),
        Phone(0.44 + offset_s, 0.9, "AA"),
    ]

    out = mouth_curves(None, known, int(0.8 * fps), fps)

    assert out[:, 2].max() > 0.95
    assert out[:, 0].min() < 0.12
    assert out[:, 0].max() > 0.8


def test_the_first_vowel_of_a_diphthong_takes_most_of_its_time():
    sounds = [Phone(0.0, 0.2, "S"), Phone(0.2, 0.6, "AY"), Phone(0.6, 0.8, "S")]

    opening = mouth_curves(None, sounds, 80, Fraction(100))[:, 0]

    assert opening[38] > 0.85 * opening.max(), "half of the diphthong, 20 ms before the sound"
    assert opening[52] < 0.55 * opening.max()


def test_the_mouth_is_shut_in_a_long_pause():
    out = mouth_curves(PcmArray(tone(1.6)), phones("AA AA AA - - - - - - AA AA AA"), 36, FPS)

    assert out[14:22, 0].max() < 0.02


def test_loud_vowels_open_wider_than_soft_ones():
    sound = np.concatenate([tone(0.6, 0.02), tone(0.6, 0.4)])

    out = mouth_curves(PcmArray(sound), phones("AA AA AA AA AA AA AA AA AA AA"), 30, FPS)

    assert out[5:10, 0].max() < 0.8 * out[20:25, 0].max()


def test_the_opening_never_moves_faster_than_lips_can():
    names = " ".join(np.random.default_rng(0).choice(["AA", "P", "S", "-", "AE", "M"], 200))

    out = mouth_curves(None, phones(names, 0.05), 250, FPS)

    assert np.abs(np.diff(out[:, 0])).max() <= 0.4 + 1e-6
    assert out.shape == (250, 3)
    assert out.dtype == np.float32
    assert (out.min(0) >= [0, -1, 0]).all()
    assert (out.max(0) <= 1).all()


def test_the_curve_leads_the_sound_by_the_same_time_at_any_rate():
    known = phones("- - - - AA AA AA AA - - - -", 0.1)
    middles = []
    for fps in (FPS, Fraction(24000, 1001), Fraction(60)):
        opening = mouth_curves(None, known, int(Fraction(6, 5) * fps), fps)[:, 0]
        at = (np.arange(len(opening)) + 0.5) / float(fps)
        middles.append(float((at * opening).sum() / opening.sum()))

    np.testing.assert_allclose(middles, 0.58, atol=0.006)


@pytest.mark.parametrize("nothing", [None, []])
def test_without_phones_the_loudness_moves_the_mouth(nothing):
    sound = np.concatenate([np.zeros(16000, np.float32), tone(1.0), np.zeros(16000, np.float32)])

    out = mouth_curves(PcmArray(sound), nothing, 75, FPS)

    assert out[5:20, 0].max() == 0
    assert out[30:45, 0].min() > 0.5
    assert out[55:, 0].max() < 0.02


def test_digital_silence_without_phones_stays_shut():
    assert not mouth_curves(PcmArray(np.zeros(16000, np.float32)), None, 25, FPS).any()


def test_frames_beyond_the_speech_are_shut():
    out = mouth_curves(PcmArray(tone(0.5)), phones("AA AA AA AA"), 50, FPS)

    assert out.shape == (50, 3)
    assert out[20:, 0].max() < 0.05


def test_no_frames_and_wrong_numbers():
    assert mouth_curves(None, [], 0, FPS).shape == (0, 3)
    with pytest.raises(InputError, match="must be positive"):
        mouth_curves(None, [], 5, Fraction(0))
    with pytest.raises(InputError, match="must be positive"):
        mouth_curves(None, [], -1, FPS)


def test_an_hour_takes_seconds_and_is_never_read_at_once():
    largest = [0]

    class Hour:
        count = 3600 * 16000

        def read(self, start, stop):
            largest[0] = max(largest[0], stop - start)
            return np.full(stop - start, 0.1, np.float32)

    known = [Phone(i * 0.1, i * 0.1 + 0.1, ("AA", "M", "S", "")[i % 4]) for i in range(36000)]
    began = time.process_time()

    out = mouth_curves(Hour(), known, 90_000, FPS)

    assert time.process_time() - began < 8
    assert out.shape == (90_000, 3)
    assert largest[0] <= 60 * 16000
