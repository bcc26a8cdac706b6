"""A notice before a recording: sample rate, channels and the recording itself are kept."""

import wave

import numpy as np
import pytest

from musetalk_core.errors import NoAudioFound
from musetalk_core.media.audio.decode import write_wav
from musetalk_core.media.audio.prepend import PAUSE_S, prepend_speech


def tone(seconds, rate, hz):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def read(path):
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return samples, file.getframerate()


@pytest.fixture
def notice(tmp_path):
    path = tmp_path / "notice.wav"
    write_wav(path, tone(0.5, 24_000, 440), 24_000)
    return path


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (16_000, 1), (44_100, 2)])
def test_the_recording_follows_unchanged(tmp_path, notice, rate, channels):
    recording, target = tmp_path / "recording.wav", tmp_path / "both.wav"
    sides = [tone(1, rate, 300), tone(1, rate, 500)][:channels]
    given = np.rint(np.stack(sides, 1) * 32_767).astype("<i2")
    with wave.open(str(recording), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(given.tobytes())

    start_s = prepend_speech(notice, recording, target)

    samples, found_rate = read(target)
    start = round(start_s * rate)
    assert (found_rate, samples.shape[1]) == (rate, channels)
    assert start_s == pytest.approx(0.5 + PAUSE_S, abs=0.01)
    assert np.abs(samples[start:].astype(int) - given).max() <= 1
    assert not samples[start - int(0.9 * PAUSE_S * rate) : start].any(), "a pause"
    said = samples[: int(0.5 * rate)]
    assert (said[:, 0] == said[:, -1]).all(), "the notice is on all sides"
    spectrum = np.abs(np.fft.rfft(said[:, 0]))
    assert np.argmax(spectrum) / len(said) * rate == pytest.approx(440, abs=3)


def test_a_file_without_sound_is_refused_and_leaves_nothing(tmp_path, notice):
    empty = tmp_path / "empty.wav"
    write_wav(empty, np.zeros(0), 16_000)

    with pytest.raises(NoAudioFound):
        prepend_speech(notice, empty, tmp_path / "both.wav")
    assert not (tmp_path / "both.wav").exists()
