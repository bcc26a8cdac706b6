"""Ends and loudness of spoken sentences."""

import re
import subprocess

import numpy as np
import pytest

from musetalk_core.media.audio.decode import write_wav
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from musetalk_core.speech.audio.loudness import (
    TARGET_LUFS,
    measure_loudness,
    normalize_loudness,
    trim_silence,
)
from musetalk_core.speech.tts.starter_voice import RATE_HZ, synthesize


@pytest.fixture(scope="module")
def sentence():
    """Ends in an unvoiced s, as many do."""
    return trim_silence(
        synthesize("My mother bought five big blue balloons, and six of those.").samples, RATE_HZ
    )


def noise(seconds, of, decibels):
    level = np.sqrt(np.mean(of**2)) * 10 ** (decibels / 20)
    return (np.random.default_rng(1).normal(size=int(seconds * RATE_HZ)) * level).astype(np.float32)


@pytest.mark.parametrize("decibels", [-80, -50, -30, -20, -12])
def test_a_long_noisy_tail_is_taken_off(sentence, decibels):
    tail = noise(4, sentence, decibels)

    kept = trim_silence(np.concatenate([sentence, tail]), RATE_HZ)

    assert abs(len(kept) - len(sentence)) < 0.3 * RATE_HZ
    assert np.array_equal(kept[: len(sentence) - RATE_HZ // 10], sentence[: -RATE_HZ // 10])


def test_silence_at_both_ends_goes_and_speech_stays(sentence):
    silence = np.zeros(2 * RATE_HZ, np.float32)

    kept = trim_silence(np.concatenate([silence, sentence, silence]), RATE_HZ)

    assert abs(len(kept) - len(sentence)) < 0.12 * RATE_HZ
    assert np.square(kept).sum() == pytest.approx(np.square(sentence).sum(), rel=1e-3)


def test_what_has_no_voice_or_no_sound_is_left(sentence):
    for samples in (np.zeros(RATE_HZ, np.float32), noise(1, sentence, 0), np.zeros(100, np.float32)):
        assert len(trim_silence(samples, RATE_HZ)) > 0.9 * len(samples)


@pytest.mark.parametrize("gain", [0.05, 0.5, 1.5])
def test_loudness_agrees_with_ffmpeg_s_meter(sentence, tmp_path, gain):
    write_wav(tmp_path / "a.wav", sentence * gain, RATE_HZ)
    words = [find_ffmpeg(), "-nostats", "-i", tmp_path / "a.wav", "-af", "ebur128", "-f", "null", "-"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    theirs = float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1])

    assert measure_loudness(sentence * np.float32(gain), RATE_HZ) == pytest.approx(theirs, abs=0.15)


@pytest.mark.parametrize("gain", [0.1, 1.0, 1.8])
def test_sentences_come_out_equally_loud(sentence, gain):
    even = normalize_loudness(sentence * np.float32(gain), RATE_HZ)

    assert measure_loudness(even, RATE_HZ) == pytest.approx(TARGET_LUFS, abs=0.01)
    assert np.abs(even).max() < 10 ** (-1 / 20) + 1e-6


def test_peaks_are_never_cut_and_silence_is_not_raised():
    click = np.zeros(RATE_HZ, np.float32)
    click[5000:5010] = 0.9

    assert np.abs(normalize_loudness(click, RATE_HZ)).max() <= 10 ** (-1 / 20) + 1e-6
    assert not normalize_loudness(np.zeros(RATE_HZ, np.float32), RATE_HZ).any()


def test_a_word_shorter_than_a_block_is_measured():
    word = trim_silence(synthesize("No.").samples, RATE_HZ)[: RATE_HZ // 5]

    assert measure_loudness(normalize_loudness(word, RATE_HZ), RATE_HZ) == pytest.approx(
        TARGET_LUFS, abs=0.01
    )
