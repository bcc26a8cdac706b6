"""Captions: read whatever their make, shown where and when they should be, and never obeyed."""

import io

import av
import numpy as np
import pytest

from musetalk_core.errors import InputError, MediaUnreadable
from musetalk_core.media.output.captions import (
    MAX_CAPTIONS_BYTES,
    BurnStyle,
    Caption,
    add_caption_track,
    burn_captions,
    captions_after_end,
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
    first = read_captions(written(tmp_path, content))[0][0]
    assert (first.start_ms, first.end_ms, first.text) == (200, 600, "First words")


@pytest.mark.parametrize("content", ["", "no captions here", "1\n00:00:02,000 --> 00:00:01,000\nback\n"])
def test_what_holds_none_is_refused(tmp_path, content):
    with pytest.raises(InputError):
        read_captions(written(tmp_path, content))


def test_what_is_no_text_or_too_much_is_refused(tmp_path):
    with pytest.raises(InputError):
        read_captions(written(tmp_path, b"\x00\x81\xff\x01" * 90))
    with pytest.raises(InputError):
        read_captions(written(tmp_path, b"x" * (MAX_CAPTIONS_BYTES + 1)))


@pytest.mark.parametrize(("side", "low", "high"), [("bottom", 0.7, 1.0), ("top", 0.0, 0.3)])
def test_they_are_drawn_while_they_are_shown_and_where_they_should_be(tmp_path, side, low, high):
    source, target = grey_clip(tmp_path / "it's [odd]: a, name.mp4"), tmp_path / "out.mp4"
    burn_captions(
        source, probe(source, MediaLimits()), [Caption(200, 600, "WORDS")], target, style=BurnStyle(12, side)
    )
    shares, heights = whites(target)
    assert max(shares[:4]) == 0 and min(shares[6:14]) > 0.002 and max(shares[17:]) == 0
    assert low < heights[10] < high
    made = probe(target, MediaLimits())
    assert made.audio.codec == "aac" and abs(float(made.duration_s) - 1) < 0.1


def test_captions_of_slides_come_and_go_in_time(tmp_path, clips):
    # two slides of 1 s at 1 frame per second; one caption begins and ends while a slide is shown
    source = clips.make(
        "slides.mp4", "-f", "lavfi", "-i", "color=0x5A5A5A:s=320x240:r=1:d=2", "-c:v", "libx264"
    )
    captions = [Caption(205, 605, "WORDS"), Caption(1200, 1700, "MORE")]
    warnings = burn_captions(
        source, probe(source), captions, tmp_path / "o.mp4", style=BurnStyle(12), limits=MediaLimits()
    )
    with av.open(str(tmp_path / "o.mp4")) as made:
        frames = [(frame.time, frame.to_ndarray(format="gray").max() > 230) for frame in made.decode(video=0)]
    shown = {0: False, 0.21: True, 0.61: False, 1: False, 1.2: True, 1.7: False}
    shown |= {time_s: False for time_s in (1.84, 1.88, 1.92, 1.96)}
    assert frames == [(pytest.approx(time_s, abs=0.001), one) for time_s, one in shown.items()]
    assert probe(tmp_path / "o.mp4").duration_s == pytest.approx(2, abs=0.05)
    assert warnings == (), "nothing is rendered at another rate"


def test_captions_after_the_end_are_a_warning():
    captions = [Caption(0, 500, "a"), Caption(2000, 2500, "b"), Caption(9000, 9500, "c")]
    [warning] = captions_after_end(captions, 2.0)
    assert warning.startswith("captions_after_end: 2 of 3 captions begin after the end")
    assert captions_after_end(captions, 9.1) == ()


@pytest.mark.parametrize(("codec", "codes"), [("libx264", []), ("ffv1", ["tone_mapped", "video_reencoded"])])
def test_a_copied_picture_keeps_its_colors_and_its_rate(tmp_path, clips, codec, codes):
    tags = "color_trc=arib-std-b67:color_primaries=bt2020:colorspace=bt2020nc"
    source = clips.make(
        f"{codec}.mkv", "-f", "lavfi", "-i", "testsrc2=s=160x120:r=2:d=1", "-vf",
        f"format=yuv420p10le,setparams={tags}", "-c:v", codec,
    )  # fmt: skip
    assert [text.split(":")[0] for text in probe(source).video.warnings] == ["low_frame_rate", "tone_mapped"]
    warnings = add_caption_track(source, probe(source), [Caption(0, 500, "a")], tmp_path / "o.mp4")
    assert [text.split(":")[0] for text in warnings] == codes


def test_words_are_not_obeyed(tmp_path):
    source = grey_clip(tmp_path / "a.mp4", sound=False)
    for number, text in enumerate(["{\\1a&HFF&}HIDDEN", "C:\\Nnew\\path", "Dialogue: 0,,,{}"]):
        target = tmp_path / f"{number}.mp4"
        burn_captions(
            source, probe(source, MediaLimits()), [Caption(0, 1000, text)], target, style=BurnStyle(12)
        )
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


GREETING = "1\n00:00:00,000 --> 00:00:02,000\nGrüße aus Köln, ça va\n"


@pytest.mark.parametrize(
    ("data", "declared", "name"),
    [
        (GREETING.encode("utf-8-sig"), None, None),
        (GREETING.encode("utf-16"), None, None),
        (b"\xfe\xff" + GREETING.encode("utf-16-be"), None, None),
        (GREETING.encode("utf-32"), None, None),
        (GREETING.encode("utf-16-le"), None, "utf-16-le"),
        (GREETING.encode("utf-16-be"), None, "utf-16-be"),
        (GREETING.encode("cp1252"), None, "cp1252"),
        (GREETING.encode("cp1252"), "cp1252", None),
        (GREETING.encode("latin-1").replace(b"\n", b"\r"), None, "cp1252"),
    ],
)
def test_the_encoding_is_taken_from_the_mark_from_the_job_or_detected_with_a_warning(
    tmp_path, data, declared, name
):
    captions, warnings = read_captions(written(tmp_path, data), declared)
    assert [one.text for one in captions] == ["Grüße aus Köln, ça va"]
    assert [text.split(":")[0] for text in warnings] == (["guessed_encoding"] if name else [])
    assert name is None or name in warnings[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Привет, как дела сегодня", "cp1251"),
        ("Zażółć gęślą jaźń", "cp1250"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy.", "iso8859_2"),
        ("Καλημέρα κόσμε, τι κάνεις σήμερα;", "cp1253"),
        ("こんにちは世界、今日はいい天気ですね。", "cp932"),
        ("你好世界。今天天气很好。我们去公园吧。", "gb18030"),
        ("안녕하세요 세계, 오늘 날씨가 좋네요.", "cp949"),
    ],
)
def test_other_scripts_are_detected(tmp_path, text, name):
    content = f"1\n00:00:00,000 --> 00:00:02,000\n{text}\n"
    captions, warnings = read_captions(written(tmp_path, content.encode(name)))
    assert captions[0].text == text
    assert warnings[0].startswith("guessed_encoding: ")


def test_control_characters_are_not_part_of_a_caption(tmp_path):
    content = "1\n00:00:00,000 --> 00:00:02,000\n\x07One\x1b \x7fline\x0c\x00\n\tand another\n"
    captions, _ = read_captions(written(tmp_path, content.encode()))
    assert captions[0].text.split() == ["One", "line", "and", "another"]


@pytest.mark.parametrize("name", ["no-such", "rot13", "hex", "idna"])
def test_an_encoding_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="unknown"):
        read_captions(written(tmp_path, GREETING.encode("cp1252")), name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hello there &amp; you", "Hello there & you"),
        ("1 &lt; 2 &gt; 0", "1 < 2 > 0"),
        ("&lt;b&gt;kept&lt;/b&gt;", "<b>kept</b>"),
        ("&#72;i&nbsp;&#x2026;", "Hi\xa0…"),
        ("AT&T & co", "AT&T & co"),
    ],
)
def test_entities_are_the_characters_they_stand_for(tmp_path, text, shown):
    for content in (VTT.replace("First words", text), SRT.replace("First <i>words</i>", text)):
        assert read_captions(written(tmp_path, content))[0][0].text == shown


def test_an_endless_entity_is_refused_not_computed(tmp_path):
    with pytest.raises(InputError):
        read_captions(written(tmp_path, SRT.replace("more", "&#" + "9" * 9_000 + ";")))


def drawn_columns(path, number=10):
    with av.open(str(path)) as container:
        picture = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)][number]
    return np.flatnonzero((picture > 230).any(axis=0)), picture


def test_a_right_to_left_line_ends_at_the_left(tmp_path):
    source = grey_clip(tmp_path / "a.mp4", size=(480, 240), sound=False)
    extents = []
    for text in ("مرحبا بالعالم", "مرحبا بالعالم."):
        burn_captions(
            source, probe(source), [Caption(0, 1000, text)], tmp_path / "o.mp4", style=BurnStyle(12)
        )
        columns, picture = drawn_columns(tmp_path / "o.mp4")
        low = (picture[205:] > 230).any(axis=0)
        extents.append((columns.min(), columns.max(), int(np.flatnonzero(low).min())))
    wider = (extents[1][1] - extents[1][0]) - (extents[0][1] - extents[0][0])
    assert wider > 2, "the full stop is drawn"
    before, after = (240 - extents[0][0], extents[0][1] - 240), (240 - extents[1][0], extents[1][1] - 240)
    # Centered text grows on both sides alike; the last thing on the left is the stop, a block as low as wide.
    assert abs((after[0] - before[0]) - (after[1] - before[1])) <= 3
    left = (picture[:, extents[1][0] : extents[1][0] + 5] > 230).any(axis=1)
    right = (picture[:, extents[1][1] - 5 : extents[1][1] + 1] > 230).any(axis=1)
    assert left.sum() < right.sum(), "a stop is lower than a letter"


def test_characters_without_a_font_are_a_warning_with_the_remedy(tmp_path):
    source = grey_clip(tmp_path / "a.mp4", sound=False)
    # Egyptian hieroglyphs are in hardly any installed font.
    (warning,) = burn_captions(source, probe(source), [Caption(0, 1000, "\U00013000 ok")], tmp_path / "o.mp4")
    assert warning.startswith("missing_glyphs: ") and "install a font" in warning
    assert burn_captions(source, probe(source), [Caption(0, 1000, "Größe ok")], tmp_path / "p.mp4") == ()


def test_wide_text_without_spaces_stays_in_the_picture(tmp_path):
    source = grey_clip(tmp_path / "a.mp4", size=(320, 240), sound=False)
    burn_captions(
        source, probe(source), [Caption(0, 1000, "字" * 60)], tmp_path / "o.mp4", style=BurnStyle(6)
    )
    _, picture = drawn_columns(tmp_path / "o.mp4")
    columns = np.flatnonzero((picture > 120).any(axis=0))
    assert columns.min() > 8 and columns.max() < 312


def vp8_clip(path, seconds=1):
    """As a browser records: VP8 and Opus, no length in the header."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=25, options={"deadline": "realtime", "cpu-used": "8"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        track = container.add_stream("libopus", rate=48000, layout="mono")
        for _ in range(25 * seconds):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 90, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for number in range(0, 48000 * seconds, 960):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48000, number
            container.mux(track.encode(frame))
        container.mux(track.encode())
    path.write_bytes(buffer.getvalue())
    return path


def test_a_browser_recording_gets_a_track_in_a_file_that_can_hold_it(tmp_path):
    source, target = vp8_clip(tmp_path / "live.webm"), tmp_path / "out.mp4"
    warnings = add_caption_track(source, probe(source), [Caption(200, 600, "a < b & c")], target)
    assert [text.split(":")[0] for text in warnings] == ["video_reencoded"]
    with av.open(str(target)) as made:
        assert [stream.codec_context.name for stream in made.streams][:2] == ["h264", "aac"]
        (track,) = made.streams.subtitles
        assert any(b"a < b & c" in bytes(packet) for packet in made.demux(track) if packet.size > 2)
    assert abs(float(probe(target).duration_s) - 1) < 0.1


@pytest.mark.parametrize(
    ("rate", "selected"), [("25", "not(mod(n,4))+lt(n,10)"), ("30", "1"), ("60000/1001", "1"), ("48", "1")]
)
def test_burned_pictures_keep_their_times_and_are_tagged(tmp_path, clips, rate, selected):
    source = clips.make(
        "times.mkv", "-f", "lavfi", "-i", f"testsrc2=s=160x120:r={rate}:d=2", "-vf", f"select='{selected}'",
        "-fps_mode", "passthrough", "-c:v", "libx264",
    )  # fmt: skip
    burn_captions(source, probe(source), [Caption(0, 100, "x")], tmp_path / "o.mp4")
    with av.open(str(source)) as was, av.open(str(tmp_path / "o.mp4")) as made:
        before = [frame.time for frame in was.decode(video=0)]
        frames = list(made.decode(video=0))
        np.testing.assert_allclose([frame.time for frame in frames], before, atol=0.002)
        tags = {(int(f.colorspace), int(f.color_trc), int(f.color_primaries)) for f in frames}
        assert tags == {(1, 1, 1)}
