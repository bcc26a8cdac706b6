"""Captions: read whatever their make, shown where and when they should be, and never obeyed."""

import av
import numpy as np
import pytest

from musetalk_core.errors import InputError, MediaUnreadable
from musetalk_core.media.output.captions import (
    MAX_CAPTIONS_BYTES,
    Caption,
    add_caption_track,
    burn_captions,
    read_captions,
)
from musetalk_core.media.probe import probe
from musetalk_core.media.source.limits import MediaLimits

SRT = "1\n00:00:00,200 --> 00:00:00,600\nFirst <i>words</i>\n\n"
SRT += "2\n00:00:00,600 --> 00:00:00,900\n{\\an8}more\n"
VTT = "WEBVTT\n\n00:00.200 --> 00:00.600 line:0\n<v Anna>First words\n"


def written(folder, content, name="c.srt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def grey_clip(path, size=(320, 240), seconds=1, sound=True):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        track = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for _ in range(25 * seconds):
            picture = np.full((size[1], size[0], 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
        if track:
            for number in range(0, 48000 * seconds, 1024):
                tone = (0.2 * np.sin(np.arange(number, number + 1024) / 20)).astype(np.float32)[None]
                frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48000, number
                container.mux(track.encode(frame))
            container.mux(track.encode())
    return path


def whites(path):
    """Where white shows per frame: its share of the picture, and the mean height of it."""
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    shares = [float((picture > 230).mean()) for picture in pictures]
    rows = [np.flatnonzero((picture > 230).any(axis=1)) for picture in pictures]
    return shares, [float(row.mean()) / len(pictures[0]) if len(row) else None for row in rows]


@pytest.mark.parametrize("content", [SRT, "\ufeff" + SRT, SRT.replace("\n", "\r\n"), VTT])
def test_both_kinds_are_read_without_their_markup(tmp_path, content):
    first = read_captions(written(tmp_path, content))[0]
    assert (first.start_ms, first.end_ms, first.text) == (200, 600, "First words")


@pytest.mark.parametrize("content", ["", "no captions here", "1\n00:00:02,000 --> 00:00:01,000\nback\n"])
def test_what_holds_none_is_refused(tmp_path, content):
    with pytest.raises(InputError):
        read_captions(written(tmp_path, content))


def test_what_is_no_text_or_too_much_is_refused(tmp_path):
    with pytest.raises(MediaUnreadable):
        read_captions(written(tmp_path, b"\xff\xfe\x00\x01" * 9))
    with pytest.raises(InputError):
        read_captions(written(tmp_path, b"x" * (MAX_CAPTIONS_BYTES + 1)))


@pytest.mark.parametrize(("side", "low", "high"), [("bottom", 0.7, 1.0), ("top", 0.0, 0.3)])
def test_they_are_drawn_while_they_are_shown_and_where_they_should_be(tmp_path, side, low, high):
    source, target = grey_clip(tmp_path / "it's [odd]: a, name.mp4"), tmp_path / "out.mp4"
    burn_captions(
        source, probe(source, MediaLimits()), [Caption(200, 600, "WORDS")], target, size=12, side=side
    )
    shares, heights = whites(target)
    assert max(shares[:4]) == 0 and min(shares[6:14]) > 0.002 and max(shares[17:]) == 0
    assert low < heights[10] < high
    made = probe(target, MediaLimits())
    assert made.audio.codec == "aac" and abs(float(made.duration_s) - 1) < 0.1


def test_words_are_not_obeyed(tmp_path):
    source = grey_clip(tmp_path / "a.mp4", sound=False)
    for number, text in enumerate(["{\\1a&HFF&}HIDDEN", "C:\\Nnew\\path", "Dialogue: 0,,,{}"]):
        target = tmp_path / f"{number}.mp4"
        burn_captions(source, probe(source, MediaLimits()), [Caption(0, 1000, text)], target, size=12)
        assert whites(target)[0][10] > 0.002
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.mp4", "1.mp4", "2.mp4", "a.mp4"]


def test_a_track_lies_beside_the_untouched_picture(tmp_path):
    source, target = grey_clip(tmp_path / "a.mp4"), tmp_path / "out.mp4"
    add_caption_track(
        source, probe(source, MediaLimits()), [Caption(200, 600, "Gr\u00fc\u00df Gott\nzwei")], target
    )
    with av.open(str(target)) as made, av.open(str(source)) as was:
        (track,) = made.streams.subtitles
        assert track.codec_context.name == "mov_text"
        texts = [bytes(packet) for packet in made.demux(track) if packet.size > 2]
        assert any("Gr\u00fc\u00df Gott".encode() in text for text in texts)
        before = [bytes(packet) for packet in was.demux(video=0) if packet.size]
    with av.open(str(target)) as made:
        assert [bytes(packet) for packet in made.demux(video=0) if packet.size] == before


def test_a_sound_is_no_video(tmp_path):
    import wave

    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(16000)
        sound.writeframes(bytes(32000))
    with pytest.raises(MediaUnreadable):
        burn_captions(path, probe(path, MediaLimits()), [Caption(0, 1, "x")], tmp_path / "out.mp4")
