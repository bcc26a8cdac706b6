"""The mark in sound: size, robustness and false alarms."""

import wave

import numpy as np
import pytest
import soxr

from musetalk_core.errors import InputError
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.sound_detector import SoundDetector
from musetalk_core.imperceptible_mark.sound_marker import SoundMarker, mark_wav

KEY, OTHER_KEY = MarkKey(b"k" * 32), MarkKey(b"o" * 32)
RATE = 24_000


@pytest.fixture(scope="module")
def speech(reading):
    """7.1 s of speech at 24 kHz."""
    return np.asarray(soxr.resample(reading.samples, 16_000, RATE), np.float32)


def mark(samples, rate=RATE, block=None):
    marker = SoundMarker(KEY, rate)
    blocks = np.split(samples, range(block, len(samples), block)) if block else [samples]
    return np.concatenate([*(marker.add(one) for one in blocks), marker.finish()])


def detect(samples, rate=RATE, key=KEY):
    return SoundDetector(PcmArray(np.asarray(soxr.resample(samples, rate, 16_000), np.float32))).detect(key)


def test_it_is_found_with_the_key_and_only_with_it(speech):
    marked = mark(speech)

    assert detect(marked).found
    assert not detect(marked, key=OTHER_KEY).found
    assert not detect(speech).found


def test_it_is_20_db_below_the_speech_and_silence_stays_silent(speech):
    padded = np.concatenate([np.zeros(RATE, np.float32), speech])

    marked = mark(padded)

    error = np.mean((marked - padded) ** 2)
    assert 10 * np.log10(np.mean(padded**2) / error) > 20
    assert np.abs(marked[: RATE - RATE // 50]).max() == 0


def test_blocks_do_not_change_a_sample(speech):
    whole = mark(speech[: 3 * RATE])

    for block in (1000, 7919):
        np.testing.assert_array_equal(mark(speech[: 3 * RATE], block=block), whole)


@pytest.mark.parametrize("count", [0, 1, 239, 240, 5000])
def test_the_length_stays(count, speech):
    assert len(mark(speech[:count])) == count


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_usual_sample_rates_can_be_marked(speech, rate):
    at_rate = np.asarray(soxr.resample(speech, RATE, rate), np.float32)

    assert detect(mark(at_rate, rate), rate).found


@pytest.mark.parametrize("rate", [22_050, 7900, 0])
def test_other_sample_rates_are_refused(rate):
    with pytest.raises(InputError):
        SoundMarker(KEY, rate)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("trimmed by 10 %", lambda s: s[len(s) // 10 :]),
        ("5 s from the middle", lambda s: s[12_345 : 12_345 + 5 * RATE]),
        ("8 kHz and back", lambda s: soxr.resample(soxr.resample(s, RATE, 8000), 8000, RATE)),
        ("softer", lambda s: s * 0.1),
        ("noise at 25 dB", lambda s: s + np.random.default_rng(0).normal(0, s.std() / 18, len(s))),
        ("8 bits", lambda s: np.rint(s * 127) / 127),
        (
            "after other sound",
            lambda s: np.concatenate([np.random.default_rng(0).normal(0, 0.05, 100_000), s]),
        ),
    ],
)
def test_it_survives(speech, name, change):
    del name
    assert detect(np.asarray(change(mark(speech)), np.float32)).found


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0), np.zeros(100), np.zeros(80_000), np.sin(np.arange(160_000) / 5), np.ones(160_000)],
    ids=["empty", "short", "silent", "tone", "constant"],
)
def test_sound_without_a_mark_has_none(samples):
    assert not SoundDetector(PcmArray(samples.astype(np.float32))).detect(KEY).found


def test_a_wav_file_is_marked_and_keeps_its_length(tmp_path, speech):
    for name, samples in (("in", speech),):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
            file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())

    mark_wav(tmp_path / "in.wav", tmp_path / "out.wav", KEY)
    mark_wav(tmp_path / "in.wav", tmp_path / "again.wav", KEY)

    with wave.open(str(tmp_path / "out.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, len(speech))
        pcm = np.frombuffer(file.readframes(len(speech)), "<i2")
    assert detect((pcm / 32768).astype(np.float32)).found
    assert (tmp_path / "out.wav").read_bytes() == (tmp_path / "again.wav").read_bytes()
