"""Joining: chunks meet without a gap, sound starts and ends with the picture."""

from fractions import Fraction

import av
import numpy as np
import pytest

from musetalk_core.errors import EncodeError, NoAudioFound
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech, write_wav
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.audio_track import encode_audio_track
from musetalk_core.media.output.mux import join_chunks
from musetalk_core.media.output.video_encoder import VideoEncoder, timescale
from musetalk_core.media.video.frames import open_scan

RATES = ["24", "25", "24000/1001", "30000/1001", "30", "50", "60000/1001", "60"]


def flat(luma, width=64, height=48):
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    picture[:height] = luma
    return Picture(picture)


def encode(path, frames, rate, **options):
    with VideoEncoder(path, frames[0].width, frames[0].height, rate, **options) as encoder:
        for frame in frames:
            encoder.write(frame)
    return path


def facts(path):
    """Frame times, and start and length of both tracks, in exact seconds."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], next(iter(container.streams.audio), None)
        lengths = [stream.duration * stream.time_base for stream in (video, audio) if stream]
        starts = [stream.start_time * stream.time_base for stream in (video, audio) if stream]
        times = sorted(packet.pts * video.time_base for packet in container.demux(video) if packet.size)
    return times, lengths, starts


@pytest.mark.parametrize("rate", RATES)
def test_a_minute_of_chunks_is_exact_and_as_long_as_its_sound(tmp_path, clips, rate):
    rate, seconds = Fraction(rate), 60
    name, words = ("minute.wav", ()) if rate == 25 else ("minute.m4a", ("-b:a", "32k"))
    speech = clips.tone(name, *words, seconds=seconds, rate=48000)
    count = round(seconds * rate)
    # Three real chunks, used over and over: what counts is that no length is a whole number of milliseconds.
    sizes = [37, 101, 59]
    made = [
        encode(tmp_path / f"{n}.mp4", [flat(30 + k % 200, 32, 32) for k in range(n)], rate) for n in sizes
    ]
    chunks, total = [], 0
    while total + max(sizes) < count:
        chunks.append(made[len(chunks) % 3])
        total += sizes[(len(chunks) - 1) % 3]
    chunks.append(encode(tmp_path / "last.mp4", [flat(99, 32, 32)] * (count - total), rate))

    joined = join_chunks(chunks, speech, tmp_path / "a.mp4", rate=rate)

    times, (picture_s, sound_s), starts = facts(tmp_path / "a.mp4")
    assert joined == count
    assert times == [number / rate for number in range(count)]
    assert starts == [0, 0]
    assert picture_s == count / rate
    assert abs(picture_s - sound_s) <= 1 / rate


def test_the_joined_pictures_are_those_of_the_chunks(tmp_path):
    rate, rng = Fraction(25), np.random.default_rng(0)
    frames = [Picture(rng.integers(16, 235, (72, 64), np.uint8)) for _ in range(50)]
    chunks = [encode(tmp_path / f"{n}.mp4", frames[n : n + 17], rate, crf=0) for n in range(0, 50, 17)]
    assert join_chunks(chunks, None, tmp_path / "a.mp4", rate=rate) == 50
    with open_scan(tmp_path / "a.mp4") as scan:
        for found, wanted in zip(scan, frames, strict=True):
            np.testing.assert_array_equal(found.i420, wanted.i420)
        assert scan.index.rate == rate


@pytest.mark.parametrize("source", ["wav", "m4a", "mp3"])
def test_flash_and_click_stay_within_20_ms_to_the_end(tmp_path, clips, source):
    rate, hertz = Fraction(30000, 1001), 48000
    every, count = 100, 1000
    flashes = list(range(50, count, every))
    frames = [flat(235 if number in flashes else 16) for number in range(count)]
    chunks = [encode(tmp_path / f"{n}.mp4", frames[n : n + 130], rate) for n in range(0, count, 130)]
    samples = np.zeros(round(count / rate * hertz), np.float32)
    for flash in flashes:
        start = round(flash / rate * hertz)
        samples[start : start + 480] = 0.9 * np.sin(np.arange(480))
    write_wav(tmp_path / "s.wav", samples, hertz)
    speech = tmp_path / "s.wav"
    if source != "wav":
        speech = clips.make(f"click-{source}.{source}", "-i", speech)

    join_chunks(chunks, speech, tmp_path / "a.mp4", rate=rate)

    with open_scan(tmp_path / "a.mp4") as scan:
        bright = [number for number, picture in enumerate(scan) if picture.y.mean() > 120]
    assert bright == flashes
    count_16k = decode_speech(tmp_path / "a.mp4", tmp_path / "a.f32")
    loud = np.abs(PcmFile(tmp_path / "a.f32").read(0, count_16k)) > 0.4
    onsets = np.flatnonzero(loud & ~np.roll(np.maximum.accumulate(loud) & _recent(loud), 1))
    assert len(onsets) == len(flashes)
    drift = onsets / 16000 - np.array([float(flash / rate) for flash in flashes])
    assert np.abs(drift).max() <= 0.020


def _recent(loud, hold=1600):
    """True where it was loud within the last `hold` samples."""
    last = np.where(loud, np.arange(len(loud)), -hold)
    return np.arange(len(loud)) - np.maximum.accumulate(last) < hold


def test_aac_is_copied_not_encoded_again(tmp_path, clips):
    speech = clips.tone("a.m4a", "-ar", "48000", seconds=2)
    chunk = encode(tmp_path / "c.mp4", [flat(99)] * 50, Fraction(25))
    join_chunks([chunk], speech, tmp_path / "a.mp4", rate=Fraction(25))
    assert packets(tmp_path / "a.mp4") == packets(speech)


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.m4a", ("-ar", "22050")),
        ("late.mp4", ("-itsoffset", "0.5")),
        ("a.aac", ()),
    ],
)
def test_aac_that_is_not_plain_is_encoded_again(tmp_path, clips, name, words):
    if "-itsoffset" in words:
        picture = clips.moving("a.mp4", "-c:v", "libx264", seconds=1)
        speech = clips.make(name, "-i", picture, *words, "-i", clips.tone("a.m4a"), "-c", "copy")
    else:
        speech = clips.tone(name, *words)
    chunk = encode(tmp_path / "c.mp4", [flat(99)] * (38 if name == "late.mp4" else 25), Fraction(25))
    join_chunks([chunk], speech, tmp_path / "a.mp4", rate=Fraction(25))
    assert packets(tmp_path / "a.mp4") != packets(speech)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.audio[0].sample_rate in (44100, 48000)


def test_broken_floats_are_silent_or_clipped_in_the_result_as_for_the_engine(tmp_path, float_wav):
    samples = 0.3 * np.sin(2764 / 16000 * np.arange(16000))
    samples[2000:2100], samples[4000:4100], samples[6000:6100] = np.nan, np.inf, -1e30
    speech = float_wav(tmp_path / "a.wav", samples)
    encode_audio_track(speech, tmp_path / "a.m4a")

    heard = []
    for path in (speech, tmp_path / "a.m4a"):
        count = decode_speech(path, tmp_path / "a.f32")
        heard.append(PcmFile(tmp_path / "a.f32").read(0, count)[:16000])
    assert np.isfinite(heard[1]).all()
    assert abs(heard[1][2030:2070]).max() < 0.2 and abs(heard[1][4030:4070]).min() > 0.5
    calm = slice(8000, 15000)
    assert np.abs(heard[0][calm] - heard[1][calm]).max() < 0.02


def test_sound_that_starts_late_stays_late_in_the_result_and_for_the_engine(tmp_path, clips):
    picture = clips.moving("a.mp4", "-c:v", "libx264", seconds=1)
    speech = clips.make(
        "late.mp4", "-i", picture, "-itsoffset", "0.5", "-i", clips.tone("a.m4a"), "-c", "copy"
    )
    chunk = encode(tmp_path / "c.mp4", [flat(99)] * 38, Fraction(25))
    join_chunks([chunk], speech, tmp_path / "a.mp4", rate=Fraction(25))
    for path in (speech, tmp_path / "a.mp4"):
        count = decode_speech(path, tmp_path / "a.f32")
        loud = np.flatnonzero(np.abs(PcmFile(tmp_path / "a.f32").read(0, count)) > 0.05)
        assert abs(loud[0] / 16000 - 0.5) < 0.01
        assert abs(count / 16000 - 1.5) < 0.05


def test_the_result_starts_fast_and_carries_no_metadata(tmp_path, clips):
    speech = clips.tone("a.mp3", "-metadata", "title=secret", "-metadata", "artist=somebody")
    chunk = encode(tmp_path / "c.mp4", [flat(99)] * 25, Fraction(25))
    join_chunks([chunk], speech, tmp_path / "a.mp4", rate=Fraction(25))
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"secret" not in data
    assert b"somebody" not in data
    with av.open(str(tmp_path / "a.mp4")) as container:
        video = container.streams.video[0]
        assert video.time_base == Fraction(1, timescale(Fraction(25)))
        context = video.codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (
            1,
            1,
            1,
            1,
        )
        assert container.streams.audio[0].codec_context.name == "aac"


def test_chunks_that_were_not_encoded_alike_are_refused(tmp_path):
    rate = Fraction(25)
    chunks = [encode(tmp_path / f"{n}.mp4", [flat(99, n, 48)] * 5, rate) for n in (64, 80)]
    with pytest.raises(EncodeError, match="encoded alike"):
        join_chunks(chunks, None, tmp_path / "a.mp4", rate=rate)
    assert not (tmp_path / "a.mp4").exists()


def test_a_chunk_of_another_rate_is_refused(tmp_path):
    chunk = encode(tmp_path / "c.mp4", [flat(99)] * 5, Fraction(24))
    with pytest.raises(EncodeError, match="off the grid"):
        join_chunks([chunk], None, tmp_path / "a.mp4", rate=Fraction(25))


def test_nothing_to_join_is_an_error(tmp_path):
    with pytest.raises(EncodeError, match="empty"):
        join_chunks([], None, tmp_path / "a.mp4", rate=Fraction(25))


def test_a_failure_leaves_nothing_behind(tmp_path, clips):
    folder = tmp_path / "out"
    folder.mkdir()
    chunk = encode(tmp_path / "c.mp4", [flat(99)] * 5, Fraction(25))
    with pytest.raises(NoAudioFound):
        join_chunks([chunk], clips.moving("a.mp4", "-c:v", "libx264"), folder / "a.mp4", rate=Fraction(25))
    assert list(folder.iterdir()) == []
