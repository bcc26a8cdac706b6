"""One decoded sound for lips and audience: channels by their layout, clocks that start again, odd formats."""

import wave
from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.errors import InputError, LengthMismatch, MediaUnreadable
from musetalk_core.media.audio.decode import decode_speech, write_wav
from musetalk_core.media.audio.track import open_sound
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.audio_track import encode_audio_track
from musetalk_core.media.output.mux import join_chunks
from musetalk_core.media.output.video_encoder import VideoEncoder
from musetalk_core.media.source.restarts import restart_offset

RATE = 48_000


def lips_hear(path, folder):
    """The (S,) samples at 16 kHz that the engines get."""
    count = decode_speech(path, folder / "lips.f32")
    samples = np.fromfile(folder / "lips.f32", "<f4")
    assert len(samples) == count
    return samples


def audience_hears(path, folder):
    """The (C, S) samples of the delivered track, and their rate."""
    encode_audio_track(path, folder / "delivered.m4a")
    with open_sound(folder / "delivered.m4a") as sound:
        return np.concatenate(list(sound.blocks), 1), sound.rate_hz


def rms(samples):
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@pytest.fixture
def voice(reading):
    """Two seconds of speech at 48 kHz, (S,) float."""
    import soxr

    return soxr.resample(reading.read(16_000, 48_000), 16_000, RATE)


def write_channels(path, *channels):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.array(channels).T * 32_767).round().astype("<i2").tobytes())
    return path


def late(samples, count):
    return np.concatenate([np.zeros(count), samples[:-count]])


@pytest.mark.parametrize(
    "second",
    [
        lambda v: -v,
        lambda v: -late(v, 9),
        lambda v: -0.5 * v,
        lambda v: -v + 0.004 * np.sin(np.arange(len(v))),
    ],
    ids=["inverted", "slightly late", "half as loud", "with noise"],
)
def test_a_voice_in_opposite_phase_is_heard_by_the_lips(tmp_path, voice, second):
    heard = lips_hear(write_channels(tmp_path / "a.wav", voice, second(voice)), tmp_path)
    alone = lips_hear(write_channels(tmp_path / "b.wav", voice), tmp_path)
    assert abs(np.corrcoef(heard, alone)[0, 1]) > 0.9
    assert rms(heard) > 0.75 * rms(alone)


@pytest.mark.parametrize(
    "weights", [(1, 1), (1, 0), (0, 1), (1, 0.4)], ids=["equal", "left", "right", "to the left"]
)
def test_other_stereo_is_the_mean_of_its_channels(tmp_path, voice, weights):
    left, right = (weight * voice for weight in weights)
    heard = lips_hear(write_channels(tmp_path / "a.wav", left, right), tmp_path)
    mean = lips_hear(write_channels(tmp_path / "b.wav", (left + right) / 2), tmp_path)
    np.testing.assert_allclose(heard, mean, atol=2e-4)


@pytest.mark.parametrize("layout", ["5.1", "7.1", "3.0", "quad"])
@pytest.mark.parametrize("channel", [0, 2])
def test_lips_and_audience_get_the_same_mix_of_many_channels(clips, tmp_path, layout, channel):
    source = "aevalsrc=" + "|".join(
        "0.3*sin(2764*t)" if number == channel else "0"
        for number in range({"5.1": 6, "7.1": 8, "3.0": 3, "quad": 4}[layout])
    )
    path = clips.make(f"{layout}-{channel}.wav", "-f", "lavfi", "-i", f"{source}:d=1:s={RATE}:c={layout}")
    heard, (delivered, _) = lips_hear(path, tmp_path), audience_hears(path, tmp_path)
    assert len(delivered) == 2
    assert rms(delivered.mean(0)) > 0.02
    assert abs(rms(heard) / rms(delivered.mean(0)) - 1) < 0.05


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 12, 24])
def test_any_number_of_channels_is_read(tmp_path, voice, channels):
    path = write_channels(tmp_path / "a.wav", *[voice] * channels)
    assert rms(lips_hear(path, tmp_path)) > 0.02
    assert rms(audience_hears(path, tmp_path)[0]) > 0.02


def chained_ogg(clips, tmp_path, codec="libopus"):
    parts = [
        clips.make(
            f"{hertz}.ogg", "-f", "lavfi", "-i", f"sine={hertz}:r=48000:d=1.5", "-c:a", codec,
            "-serial_offset", str(hertz),
        ).read_bytes()
        for hertz in (440, 880)
    ]  # fmt: skip
    (tmp_path / "chained.ogg").write_bytes(b"".join(parts))
    return tmp_path / "chained.ogg"


def joined_ts(clips, tmp_path):
    parts = [
        clips.tone(f"{seconds}.ts", "-c:a", "mp2", seconds=seconds).read_bytes() for seconds in (1.5, 1.501)
    ]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    return tmp_path / "joined.ts"


def joined(name, *rates):
    """Elementary streams of several sample rates, one after the other, as speech services join them."""

    def make(clips, tmp_path):
        plain = ("-write_xing", "0", "-id3v2_version", "0") if name == "mp3" else ()
        parts = [
            clips.tone(f"{rate}.{name}", *plain, "-ac", str(channels), rate=rate, seconds=1.5)
            for channels, rate in enumerate(rates, 1)
        ]
        (tmp_path / f"joined.{name}").write_bytes(b"".join(part.read_bytes() for part in parts))
        return tmp_path / f"joined.{name}"

    return pytest.param(make, id=f"{name} {rates}")


JOINED = [
    chained_ogg,
    joined_ts,
    joined("mp3", 44_100, 24_000),
    joined("mp3", 22_050, 48_000),
    joined("aac", 44_100, 48_000),
    joined("aac", 44_100, 22_050),
    joined("aac", 16_000, 44_100),
    joined("ac3", 48_000, 32_000),
    joined("eac3", 32_000, 48_000),
]


@pytest.mark.parametrize("make", JOINED)
def test_joined_recordings_last_as_long_for_the_lips_as_for_the_audience(clips, tmp_path, make):
    path = make(clips, tmp_path)
    heard, (delivered, rate) = lips_hear(path, tmp_path), audience_hears(path, tmp_path)
    assert abs(len(heard) / 16_000 - 3) < 0.2
    assert abs(delivered.shape[1] / rate - len(heard) / 16_000) < 0.05
    middle = heard[2_000 : len(heard) - 2_000]
    levels = [rms(part) for part in np.array_split(middle, len(middle) // 800)]
    quiet = sum(level < max(levels) / 4 for level in levels)
    assert quiet <= 3, "only the start of the second encoder, at most 0.15 s, is silent"
    ends = heard[8_000:16_000], heard[-16_000:-8_000]
    assert min(map(rms, ends)) > 0.05


def test_opus_that_changes_its_channels_is_refused_with_the_reason(clips, tmp_path):
    parts = [
        clips.tone(f"{n}.opus", "-c:a", "libopus", "-ac", str(n), rate=48_000).read_bytes() for n in (1, 2)
    ]
    (tmp_path / "a.opus").write_bytes(b"".join(parts))
    with pytest.raises(MediaUnreadable, match=r"changes midway .* in one piece"):
        lips_hear(tmp_path / "a.opus", tmp_path)


def test_a_clock_that_goes_on_is_left_alone_and_one_that_restarts_is_joined():
    second = Fraction(1)
    assert restart_offset(second, second, "ogg") == 0
    assert restart_offset(2 * second, second, "ogg") == 0, "a gap"
    assert restart_offset(0 * second, second, "mov") == 0, "an overlap of an edit list"
    assert restart_offset(0 * second, second, "ogg") == 1
    assert restart_offset(500 * second, second, "mpegts") == -499


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.aiff", ()),
        ("a.aiff", ("-c:a", "pcm_s24be")),
        ("a.caf", ()),
        ("a.caf", ("-c:a", "alac")),
        ("a.au", ()),
        ("a.w64", ()),
        ("a.wv", ()),
        ("a.wma", ()),
        ("a.wav", ("-c:a", "adpcm_ima_wav")),
        ("a.wav", ("-c:a", "adpcm_ms")),
        ("a.wav", ("-c:a", "pcm_mulaw")),
        ("a.mov", ("-c:a", "adpcm_ima_qt", "-ac", "1")),
        ("a.mka", ()),
        ("a.ac3.mkv", ("-c:a", "ac3")),
        ("a.rf64.wav", ("-rf64", "always")),
        ("a.ac3", ()),
        ("a.eac3", ()),
        ("a.dts", ("-c:a", "dca", "-strict", "-2")),
        ("a.wav", ("-c:a", "adpcm_g722", "-ar", "16000", "-ac", "1")),
    ],
)
def test_recorders_formats_are_read(clips, tmp_path, name, words):
    heard = lips_hear(clips.tone(name, *words), tmp_path)
    assert abs(len(heard) - 16_000) < 2_000
    spectrum = np.abs(np.fft.rfft(heard[4_000:12_000]))
    assert abs(np.argmax(spectrum) * 2 - 440) < 6


def test_amr_of_a_voice_note_is_read(tmp_path):
    # Twenty-five frames of 20 ms at 12.2 kbit/s: type 7, 31 bytes; all zero is valid and nearly silent.
    (tmp_path / "a.amr").write_bytes(b"#!AMR\n" + (b"\x3c" + bytes(31)) * 25)
    assert len(lips_hear(tmp_path / "a.amr", tmp_path)) == 8_000


def test_a_file_of_a_speech_corpus_is_read(tmp_path):
    header = "NIST_1A\n   1024\nsample_count -i 8000\nsample_n_bytes -i 2\nchannel_count -i 1\n"
    header += "sample_byte_format -s2 01\nsample_rate -i 16000\nsample_coding -s3 pcm\nend_head\n"
    samples = 8_000 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 16_000)
    (tmp_path / "a.sph").write_bytes(header.ljust(1024).encode() + samples.astype("<i2").tobytes())
    heard = lips_hear(tmp_path / "a.sph", tmp_path)
    assert len(heard) == 8_000 and np.argmax(np.abs(np.fft.rfft(heard))) * 2 == 440


def test_a_damaged_clip_never_becomes_another_sound(clips, tmp_path):
    data = bytearray(clips.tone("a.flac", seconds=2).read_bytes())
    data[200:] = bytes(len(data) - 200)
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(InputError):
        lips_hear(tmp_path / "a.flac", tmp_path)


def test_a_result_whose_picture_and_sound_differ_in_length_is_never_delivered(tmp_path):
    write_wav(tmp_path / "s.wav", np.zeros(3 * RATE, np.float32), RATE)
    grey = Picture(np.full((72, 64), 128, np.uint8))
    with VideoEncoder(tmp_path / "c.mp4", 64, 48, Fraction(25)) as encoder:
        for _ in range(39):
            encoder.write(grey)
    with pytest.raises(LengthMismatch, match=r"picture lasts 1\.56 s and the sound 3\.0"):
        join_chunks([tmp_path / "c.mp4"], tmp_path / "s.wav", tmp_path / "a.mp4", rate=Fraction(25))
    assert not (tmp_path / "a.mp4").exists()
