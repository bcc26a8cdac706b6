"""Probing: what is recognised, what is refused, and that refusing costs nothing."""

import struct
import subprocess
import sys
import time
import zlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from musetalk_core.errors import MediaTooLarge, MediaUnreadable, NoAudioFound
from musetalk_core.media.probe import probe, require_audio, require_picture
from musetalk_core.media.source.limits import MediaLimits

X264 = ("-c:v", "libx264", "-preset", "ultrafast")


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.fixture
def refused(tmp_path):
    """Put bytes into a file called .mp4, probe it, and see that nothing else appears."""

    def refuse(data, error=MediaUnreadable, **limits):
        path = tmp_path / "upload.mp4"
        path.write_bytes(data)
        before, start = sorted(tmp_path.iterdir()), time.process_time()
        with pytest.raises(error) as raised:
            probe(path, MediaLimits(**limits))
        assert time.process_time() - start < 2
        assert sorted(tmp_path.iterdir()) == before
        return str(raised.value)

    return refuse


@pytest.mark.parametrize(
    ("name", "words", "kind", "container"),
    [
        ("a.mp4", X264, "video", "mp4"),
        ("a.mov", X264, "video", "mov"),
        ("a.mkv", X264, "video", "matroska"),
        ("a.webm", ("-c:v", "libvpx", "-deadline", "realtime"), "video", "webm"),
        ("a.ts", X264, "video", "mpegts"),
        ("a.png", ("-frames:v", "1"), "still", "png"),
        ("a.jpg", ("-frames:v", "1"), "still", "jpeg"),
        ("a.webp", ("-frames:v", "1"), "still", "webp"),
    ],
)
def test_pictures_are_recognised_by_their_bytes_not_their_name(clips, tmp_path, name, words, kind, container):
    disguised = tmp_path / "something.txt"
    disguised.write_bytes(clips.moving(name, *words, seconds=0.4).read_bytes())

    info = probe(disguised)

    assert (info.kind, info.container, info.audio) == (kind, container, None)
    assert (info.video.width, info.video.height) == (160, 120)


@pytest.mark.parametrize(
    ("name", "words", "container", "codec"),
    [
        ("a.wav", (), "wav", "pcm_s16le"),
        ("a.flac", (), "flac", "flac"),
        ("a.mp3", (), "mp3", "mp3"),
        ("b.mp3", ("-id3v2_version", "0", "-write_xing", "0"), "mp3", "mp3"),
        ("a.ogg", ("-c:a", "libvorbis"), "ogg", "vorbis"),
        ("a.m4a", (), "mp4", "aac"),
        ("a.aac", (), "aac", "aac"),
    ],
)
def test_sound_is_recognised_by_its_bytes_not_its_name(clips, tmp_path, name, words, container, codec):
    disguised = tmp_path / "something.bin"
    disguised.write_bytes(clips.tone(name, *words).read_bytes())

    info = probe(disguised)

    assert (info.kind, info.container, info.video) == ("audio", container, None)
    assert (info.audio.codec, info.audio.sample_rate, info.audio.channels) == (codec, 44100, 1)
    assert abs(info.duration_s - 1) < Fraction(1, 5)  # raw aac estimates


def test_an_empty_file_is_refused(refused):
    assert "empty" in refused(b"")


def test_text_called_mp4_is_refused(refused):
    assert "text" in refused(b"Dear all,\nplease find my video attached.\n")


def test_noise_called_mp4_is_refused(refused):
    assert "unknown format" in refused(np.random.default_rng(0).bytes(5000))


def test_a_playlist_called_mp4_is_refused_though_its_target_exists(refused, clips):
    other = clips.moving("other.ts", *X264)
    head = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n"
    assert "playlist" in refused(head + f"file://{other}\n#EXT-X-ENDLIST\n".encode())


def test_an_ffconcat_list_called_mp4_is_refused_though_its_target_exists(refused, clips):
    other = clips.moving("other.mp4", *X264)
    assert "ffconcat" in refused(f"ffconcat version 1.0\nfile '{other}'\n".encode())


def test_an_mp4_without_its_index_is_refused(refused, clips):
    whole = clips.moving("long.mp4", *X264).read_bytes()
    assert "damaged or cut off" in refused(whole[: len(whole) // 2])


def test_an_mp4_cut_behind_its_index_is_refused_naming_both_counts(refused, clips):
    whole = clips.moving("fast.mp4", *X264, "-movflags", "+faststart").read_bytes()
    message = refused(whole[: len(whole) // 2])
    assert "promises 50 frames but holds only 2" in message


def test_an_m4a_cut_behind_its_index_is_refused(refused, clips):
    whole = clips.tone("fast.m4a", "-movflags", "+faststart", seconds=3).read_bytes()
    assert "sound packets" in refused(whole[: len(whole) // 2])


def test_a_900_megapixel_png_is_refused_by_its_header(refused):
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(9)))
        + chunk(b"IEND", b"")
    )
    start = time.process_time()
    assert "too large" in refused(png, MediaTooLarge)
    assert time.process_time() - start < 0.5


def test_a_60_megapixel_png_is_refused_by_our_own_limit(refused):
    header = struct.pack(">IIBBBBB", 10_000, 6_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9)))
    assert "10000x6000" in refused(png, MediaTooLarge)


def test_a_photo_format_nobody_decodes_says_what_to_send(refused):
    assert "png, jpeg" in refused(b"\0\0\0\x18ftypheic" + bytes(100))


@pytest.mark.parametrize(
    "limits",
    [
        {"video_pixels": 160 * 120 - 1},
        {"seconds": 1},
        {"frame_pixels": 49 * 160 * 120},
        {"video_bytes": 1000},
        {"streams": 0},
    ],
    ids=lambda limits: next(iter(limits)),
)
def test_every_limit_on_a_video_is_checked(refused, clips, limits):
    refused(clips.moving("limit.mp4", *X264).read_bytes(), MediaTooLarge, **limits)


@pytest.mark.parametrize(
    "limits", [{"seconds": 1}, {"audio_bytes": 1000}], ids=lambda limits: next(iter(limits))
)
def test_every_limit_on_sound_is_checked(refused, clips, limits):
    refused(clips.tone("limit.wav", seconds=2).read_bytes(), MediaTooLarge, **limits)


def test_a_video_without_sound_has_no_audio(clips):
    info = probe(clips.moving("silent.mp4", *X264))
    assert info.kind == "video"
    with pytest.raises(NoAudioFound, match="no sound track"):
        require_audio(info)


def test_sound_without_a_picture_has_no_picture(clips):
    with pytest.raises(MediaUnreadable, match="no picture"):
        require_picture(probe(clips.tone("a.wav")))


def test_a_video_with_sound_tells_both(clips):
    path = clips.make(
        "both.mp4",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=160x120:r=25:d=1",
        "-f",
        "lavfi",
        "-i",
        "sine=d=1:r=48000",
        *X264,
    )
    info = probe(path)
    assert info.kind == "video"
    assert (require_audio(info).codec, info.audio.sample_rate) == ("aac", 48000)
    assert info.duration_s == 1
    assert info.video.frames == 25


@pytest.mark.parametrize("name", ["cover.mp3", "cover.m4a"])
def test_sound_with_cover_art_is_sound(clips, name):
    cover = clips.moving("cover.png", "-frames:v", "1")
    words = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic")
    path = clips.make(name, "-i", clips.tone(name), "-i", cover, *words)
    info = probe(path)
    assert (info.kind, info.video) == ("audio", None)


RATES = ["24", "25", "24000/1001", "30000/1001", "30", "50", "60000/1001", "60", "15", "25/2"]


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("rate", RATES)
def test_the_rate_is_the_sources_own(clips, rate, container):
    path = clips.moving(f"rate.{container}", *X264, size="64x48", rate=rate, seconds=1)
    assert probe(path).video.rate == Fraction(rate)


def test_an_uneven_rate_becomes_a_standard_one(clips):
    path = clips.moving(
        "vfr.mp4", "-vf", "select='mod(n,7)*mod(n,5)'", "-fps_mode", "vfr", *X264, rate="30", seconds=3
    )
    assert probe(path).video.rate in (
        Fraction(20),
        Fraction(24000, 1001),
        Fraction(24),
        Fraction(25),
        Fraction(30),
    )


@pytest.mark.parametrize(("degrees", "clockwise"), [(90, 270), (180, 180), (270, 90), (-90, 90)])
def test_a_display_matrix_turns_the_size(clips, degrees, clockwise):
    upright = clips.moving("upright.mp4", *X264, seconds=0.4)
    info = probe(clips.make("turned.mp4", "-display_rotation", str(degrees), "-i", upright, "-c", "copy"))
    assert info.video.rotation == clockwise
    assert (info.video.width, info.video.height) == ((120, 160) if degrees % 180 else (160, 120))


def test_odd_sizes_are_padded(clips):
    info = probe(clips.moving("odd.mkv", "-vf", "scale=161:121", "-c:v", "ffv1", seconds=0.2))
    assert (info.video.width, info.video.height) == (162, 122)


@pytest.mark.parametrize(
    ("aspect", "size"), [("2/1", (320, 120)), ("1/2", (160, 240)), ("1001/1000", (160, 120))]
)
def test_pixels_that_are_not_square_stretch_the_size(clips, aspect, size):
    info = probe(clips.moving("wide.mp4", "-vf", f"setsar={aspect}", *X264, seconds=0.4))
    assert (info.video.width, info.video.height) == size


def test_a_video_is_not_decoded_before_its_pixels_are_checked(clips):
    path = clips.moving("big.mp4", *X264, size="1280x720", seconds=0.2)
    with pytest.raises(MediaTooLarge, match="921600 pixels in a frame; the limit is 900000"):
        probe(path, MediaLimits(video_pixels=900_000))


@pytest.mark.parametrize("codec", ["cinepak", "flashsv"])
def test_rare_codecs_are_refused_by_name(clips, codec):
    path = clips.moving("rare.mkv", "-c:v", codec, size="176x144", seconds=0.2)
    with pytest.raises(MediaUnreadable, match=f"coded as {codec}, which is not accepted"):
        probe(path)


def test_rare_sound_is_refused_by_name(clips):
    with pytest.raises(MediaUnreadable, match="coded as tta, which is not accepted; export it as WAV"):
        probe(clips.tone("rare.mkv", "-c:a", "tta"))


def test_a_missing_file_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "absent.mp4")


def test_a_name_that_looks_like_an_option_or_a_pattern_is_only_a_name(clips, tmp_path):
    strange = tmp_path / "-i %03d concat:a|b é.mp4"
    strange.write_bytes(clips.moving("plain.mp4", *X264, seconds=0.4).read_bytes())
    assert probe(strange).video.frames == 10


def test_importing_the_probe_loads_no_decoder():
    code = "import sys, musetalk_core.media.probe, musetalk_core.media.video.frames\n"
    code += "import musetalk_core.media.output.mux\n"
    code += "sys.exit(' '.join({'av', 'PIL', 'soxr', 'imageio_ffmpeg', 'ffmpeg'} & set(sys.modules)) or 0)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_jpeg_reports_its_own_size(tmp_path):
    Image.new("RGB", (31, 17)).save(tmp_path / "a.jpg")
    info = probe(tmp_path / "a.jpg")
    assert (info.kind, info.duration_s, info.video.frames) == ("still", None, 1)
    assert (info.video.width, info.video.height) == (32, 18)


@pytest.mark.parametrize("said", [b"0:0:1e9999999999", b"9e9:0:0", b"0:0:1/0", b"::", b"0:0:" + b"9" * 14])
def test_a_length_that_nobody_can_hold_is_not_reckoned_with(clips, tmp_path, said):
    data = clips.moving("a.mkv", *X264, seconds=0.4).read_bytes()
    at = data.index(b"DURATION") + len(b"DURATION")
    at = data.index(b"00:00:00.", at)
    path = tmp_path / "a.mkv"
    path.write_bytes(data[:at] + said.ljust(18, b"\0") + data[at + 18 :])
    start = time.process_time()

    info = probe(path)

    assert time.process_time() - start < 2
    assert info.video.frames is None or info.video.frames <= 10
