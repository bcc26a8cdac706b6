"""Speech as the engines hear it: 16 kHz, mono, finite, as long as the track."""

import wave

import numpy as np
import pytest
from golden_data import golden_sets, load

from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable, NoAudioFound
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio import track
from musetalk_core.media.audio.decode import decode_speech, write_wav
from musetalk_core.media.source.limits import MediaLimits


def heard(path, folder, **limits):
    count = decode_speech(path, folder / "speech.f32", MediaLimits(**limits))
    samples = PcmFile(folder / "speech.f32")
    assert samples.count == count
    found = samples.read(0, count)
    assert np.isfinite(found).all()
    assert np.abs(found).max(initial=0) <= 1
    return found


def pitch(samples):
    return np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * 16000 / len(samples)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_the_length_is_exact_at_every_rate(tmp_path, rate):
    for count in (1, 2, 999, rate + 1):
        write_wav(tmp_path / "a.wav", np.full(count, 0.5, np.float32), rate)
        assert len(heard(tmp_path / "a.wav", tmp_path)) == -(-count * 16000 // rate)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.wav", ()),
        ("a.wav", ("-c:a", "pcm_u8")),
        ("a.wav", ("-c:a", "pcm_s24le")),
        ("a.wav", ("-c:a", "pcm_f64le")),
        ("a.flac", ()),
        ("a.mp3", ()),
        ("a.ogg", ("-c:a", "libvorbis")),
        ("a.ogg", ("-c:a", "libopus")),
        ("a.m4a", ()),
        ("a.aac", ()),
        ("a.webm", ("-c:a", "libopus")),
    ],
)
def test_every_format_sounds_the_same(clips, tmp_path, name, words):
    samples = heard(clips.tone(name, "-af", "volume=6", *words), tmp_path)
    assert abs(len(samples) - 16000) <= 1600  # coders pad
    middle = samples[4000:12000]
    assert abs(pitch(middle) - 440) < 4
    assert abs(np.abs(middle).max() - 0.75) < 0.05


def test_what_is_not_a_number_becomes_one(tmp_path, float_wav):
    samples = np.zeros(16000, np.float32)
    samples[[10, 20, 30, 40]] = np.nan, np.inf, -np.inf, 1e30
    found = heard(float_wav(tmp_path / "a.wav", samples), tmp_path)
    assert found[[10, 20, 30, 40]].tolist() == [0, 1, -1, 1]


def test_silence_is_fine(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(1000, np.float32), 16000)
    assert not heard(tmp_path / "a.wav", tmp_path).any()


def test_a_track_without_a_sample_is_no_audio(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(0, np.float32), 16000)
    with pytest.raises((NoAudioFound, MediaUnreadable)):
        heard(tmp_path / "a.wav", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_video_without_sound_is_no_audio(clips, tmp_path):
    with pytest.raises(NoAudioFound, match="no sound track"):
        heard(clips.moving("a.mp4", "-c:v", "libx264"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_first_track_of_a_video_is_heard(clips, tmp_path):
    picture = clips.moving("a.mp4", "-c:v", "libx264")
    path = clips.make(
        "b.mkv", "-i", picture, "-i", clips.tone("a.wav"), "-map", "0", "-map", "1", "-c:v", "copy"
    )
    assert abs(pitch(heard(path, tmp_path)) - 440) < 4


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4", "late.ts"])
def test_sound_that_starts_after_the_picture_begins_with_silence(clips, tmp_path, name):
    picture = clips.moving("a.mp4", "-c:v", "libx264", "-bf", "0")
    path = clips.make(name, "-i", picture, "-itsoffset", "0.75", "-i", clips.tone("a.m4a"), "-c", "copy")
    samples = heard(path, tmp_path)
    loud = np.flatnonzero(np.abs(samples) > 0.05)
    assert abs(loud[0] / 16000 - 0.75) < 0.03


def test_a_hole_in_the_track_is_filled_with_silence(clips, tmp_path):
    tone = clips.tone("a.flac", seconds=3)
    path = clips.make(
        "hole.mkv", "-i", tone, "-c:a", "pcm_s16le", "-bsf:a", "noise=drop='between(pts*tb,1,2)'"
    )
    samples = heard(path, tmp_path)
    assert abs(len(samples) - 48000) < 1600
    assert np.abs(samples[18000:30000]).max() < 0.01
    assert np.abs(samples[34000:46000]).max() > 0.1


def test_limits_hold_while_decoding(tmp_path, monkeypatch):
    write_wav(tmp_path / "a.wav", np.zeros(40_000, np.float32), 16000)
    monkeypatch.setattr(track, "probe", lambda path, limits: None)
    monkeypatch.setattr(track, "require_audio", lambda info: None)
    with pytest.raises(MediaTooLarge, match="more than 2 seconds"):
        heard(tmp_path / "a.wav", tmp_path, seconds=2)


def test_a_wav_can_be_read_by_anyone_and_clips(tmp_path):
    write_wav(tmp_path / "a.wav", np.array([0, 0.5, 1, 2, -2, np.nan], np.float32), 24000)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24000)
        samples = np.frombuffer(file.readframes(10), "<i2").tolist()
    assert samples == [0, 16384, 32767, 32767, -32767, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_wav_has_one_channel(tmp_path):
    with pytest.raises(InputError, match="not mono audio"):
        write_wav(tmp_path / "a.wav", np.zeros((10, 2), np.float32), 16000)


def test_a_cut_wav_is_refused(clips, tmp_path):
    whole = clips.tone("a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaUnreadable, match="cut off"):
        heard(tmp_path / "cut.wav", tmp_path)


def test_a_wav_written_into_a_pipe_has_no_length_and_is_fine(clips, tmp_path):
    data = bytearray(clips.tone("a.wav").read_bytes())
    data[4:8] = b"\xff\xff\xff\xff"
    start = data.index(b"data") + 4
    data[start : start + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    assert len(heard(tmp_path / "a.wav", tmp_path)) == 16000


@pytest.mark.parametrize("folder", golden_sets())
@pytest.mark.parametrize("name", ["a.wav", "a.mp4", "a.flac"])
def test_stereo_becomes_the_samples_that_the_original_hears(clips, tmp_path, folder, name):
    arrays = load(folder, "audio")
    with wave.open(str(tmp_path / "stereo.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(arrays["stereo44k/pcm"].astype("<i2").tobytes())
    coder = {"a.wav": "pcm_s16le", "a.mp4": "alac", "a.flac": "flac"}[name]
    path = clips.make(f"{folder.parent.name}-{name}", "-i", tmp_path / "stereo.wav", "-c:a", coder)

    found = heard(path, tmp_path)

    np.testing.assert_allclose(found, arrays["stereo44k/mono16k"], atol=1e-5)
