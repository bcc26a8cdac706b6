"""Voice activity detection in real speech, silence and music."""

import numpy as np
import pytest

from musetalk_core.formats.pcm import PcmArray
from musetalk_core.transcription.transcript import TimeSpan
from musetalk_core.transcription.vad import detect_speech
from musetalk_core.transcription.vad import speech_clips as joined

RATE = 16_000


def music(seconds, seed=1):
    """Chords of decaying notes over a beat."""
    rng, t = np.random.default_rng(seed), np.arange(int(seconds * RATE)) / RATE
    out = np.zeros(len(t))
    for bar in range(int(seconds * 2)):
        at = t - bar / 2
        envelope = np.where(at >= 0, np.exp(-3 * at.clip(0)), 0)
        for note in rng.choice([220.0, 261.6, 329.6, 392.0, 440.0, 523.3], 3, replace=False):
            out += envelope * sum(np.sin(2 * np.pi * note * k * at) / k for k in (1, 2, 3))
        out += 0.3 * np.where(at >= 0, np.exp(-40 * at.clip(0)), 0) * rng.standard_normal(len(t))
    return (0.5 * out / np.abs(out).max()).astype(np.float32)


SILENCES = {
    "zeros": np.zeros(5 * RATE, np.float32),
    "hum": (0.1 * np.sin(2 * np.pi * 50 * np.arange(5 * RATE) / RATE)).astype(np.float32),
    "noise": (0.02 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32),
    "music": music(10),
    "nothing": np.zeros(0, np.float32),
}


@pytest.mark.parametrize("kind", SILENCES)
def test_nobody_speaks_in_silence_and_music(kind, silero):
    assert detect_speech(PcmArray(SILENCES[kind]), silero) == []


def test_speech_is_found_where_it_is(clips, silero):
    reading = clips[0][0]
    sound = np.concatenate([music(6), reading, np.zeros(7 * RATE, np.float32), clips[1][0]])
    told = []

    spans = joined(detect_speech(PcmArray(sound), silero, told.append), len(sound) / RATE)

    assert [(round(s.start, 0), round(s.end, 0)) for s in spans] == [(6, 13), (20, 23)]
    assert told == [0.0] or told[0] == 0.0 < told[-1]


def test_long_sound_is_heard_like_short_one(clips, silero):
    """Blocks of the reader are not heard as cuts."""
    sound = np.concatenate([samples for samples, _ in clips] * 2)
    spans = detect_speech(PcmArray(sound), silero)

    for at in range(512 * 1024, len(sound), 512 * 1024):
        assert not any(abs(edge - at / RATE) < 0.001 for s in spans for edge in (s.start, s.end))
    assert 0.7 < sum(s.end - s.start for s in spans) / (len(sound) / RATE) <= 1


def test_short_pauses_stay_in_and_long_ones_do_not():
    assert joined([TimeSpan(1.9, 4), TimeSpan(5.9, 8)], 9.9) == [TimeSpan(0, 9.9)]
    assert joined([TimeSpan(3, 4), TimeSpan(6.5, 8)], 60) == [TimeSpan(2.6, 4.4), TimeSpan(6.1, 8.4)]
    assert joined([], 60) == []
