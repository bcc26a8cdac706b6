"""Scanning and reading: every order of reading shows what one plain pass shows."""

import zlib
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable
from musetalk_core.media.probe import probe
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.frames import FrameReader, open_scan, source_frames

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
BFRAMES = ("-c:v", "libx264", "-preset", "medium", "-bf", "3", "-g", "12")
OPEN_GOP = ("-c:v", "libx264", "-bf", "3", "-x264-params", "open-gop=1:keyint=12:min-keyint=4:b-pyramid=2")
KINDS = {
    "b-frames": ("a.mp4", BFRAMES),
    "open-gop": ("a.mp4", OPEN_GOP),
    "open-gop-mkv": ("a.mkv", OPEN_GOP),
    "mpegts": ("a.ts", BFRAMES),
    "mpegts-open-gop": ("a.ts", OPEN_GOP),
    "hevc": (
        "a.mp4",
        ("-c:v", "libx265", "-x265-params", "keyint=12:open-gop=1:log-level=none", "-tag:v", "hvc1"),
    ),
    "intra-only": ("a.mov", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")),
    "vp9": ("a.webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "12")),
    "intra-refresh": ("a.ts", ("-c:v", "libx264", "-x264-params", "intra-refresh=1:keyint=20", "-bf", "0")),
    "mpeg2": ("a.ts", ("-c:v", "mpeg2video", "-bf", "2", "-g", "12")),
    "uneven": ("a.mp4", ("-vf", "select='mod(n,5)'", "-fps_mode", "vfr", *BFRAMES)),
    "fragmented": ("a.mp4", (*BFRAMES, "-movflags", "frag_keyframe+empty_moov")),
    "one-group": ("a.mp4", (*X264, "-g", "1000")),
    "late-start": ("a.mp4", (*BFRAMES, "-output_ts_offset", "5")),
}


def scanned(path, **keywords):
    with open_scan(path, **keywords) as scan:
        sums = [zlib.crc32(picture.i420) for picture in scan]
    return sums, scan.index


def sums_read(path, index, numbers, budget):
    """Sums of the pictures read, and the most ever kept."""
    most = 0
    sums = []
    with FrameReader(path, index, budget) as reader:
        for picture in reader.read(numbers):
            sums.append(zlib.crc32(picture.i420))
            most = max(most, reader.retained)
        assert most <= max(1, reader.capacity)
    return sums, most


def frame_bytes(index):
    return index.width * index.height * 3 // 2


@pytest.fixture(params=KINDS)
def clip(request, clips):
    name, words = KINDS[request.param]
    return clips.moving(name, *words, size="64x48")


def test_a_scan_sees_every_frame_once_and_in_order(clip):
    sums, index = scanned(clip)
    with av.open(str(clip)) as container:
        plain = [frame.pts for frame in container.decode(video=0)]
    assert index.pts.tolist() == plain
    assert len(sums) == len(plain) == index.frames
    assert len(set(sums)) > len(sums) * 3 // 4  # so that mixing frames up shows
    assert index.is_seekable
    assert abs(index.duration_s - 2) <= Fraction(1, 20)


@pytest.mark.parametrize("kept", [1, 5, 1000])
def test_reading_there_and_back_equals_a_plain_pass(clip, kept):
    sums, index = scanned(clip)
    there_and_back = [*range(index.frames), *reversed(range(index.frames)), *range(index.frames)]

    read, most = sums_read(clip, index, there_and_back, kept * frame_bytes(index))

    assert read == [sums[number] for number in there_and_back]
    assert most <= min(kept, index.frames)


def test_jumps_equal_a_plain_pass(clip):
    sums, index = scanned(clip)
    jumps = np.random.default_rng(1).integers(0, index.frames, 30).tolist()
    read, _ = sums_read(clip, index, jumps, 4 * frame_bytes(index))
    assert read == [sums[number] for number in jumps]


def test_a_repeated_number_gives_the_same_object(clips):
    path = clips.moving("a.mp4", *X264)
    _, index = scanned(path)
    with FrameReader(path, index, 1) as reader:
        first, second, other, third = reader.read([3, 3, 4, 3])
    assert first is second
    assert other is not first
    assert third is not first
    np.testing.assert_array_equal(third.i420, first.i420)


def test_a_clip_that_fits_is_decoded_once(clips, monkeypatch):
    path = clips.moving("a.mp4", *BFRAMES, seconds=1)
    _, index = scanned(path)
    from musetalk_core.media.video.cursor import FrameCursor

    decoded = []
    plain = FrameCursor.to_picture
    monkeypatch.setattr(
        FrameCursor, "to_picture", lambda self, frame: decoded.append(frame.pts) or plain(self, frame)
    )
    sums_read(path, index, source_frames(200, Fraction(25), index), 25 * frame_bytes(index))
    assert len(decoded) == 25


def test_going_back_decodes_each_group_about_once(clips, monkeypatch):
    path = clips.moving("a.mp4", *BFRAMES, seconds=4)
    _, index = scanned(path)
    from musetalk_core.media.video.decoder import FrameDecoder

    seeks = []
    plain = FrameDecoder.seek
    monkeypatch.setattr(FrameDecoder, "seek", lambda self, pts: seeks.append(pts) or plain(self, pts))
    sums_read(path, index, range(99, -1, -1), 12 * frame_bytes(index))
    assert len(seeks) <= index.keys.sum() + 1


def test_numbers_outside_the_clip_are_refused(clips):
    path = clips.moving("a.mp4", *X264)
    _, index = scanned(path)
    with FrameReader(path, index) as reader, pytest.raises(InputError, match="frame 50 was requested"):
        list(reader.read([50]))


def test_a_reader_must_be_entered(clips):
    path = clips.moving("a.mp4", *X264)
    with pytest.raises(InputError, match="entered"):
        list(FrameReader(path, scanned(path)[1]).read([0]))


def test_a_file_that_is_not_the_indexed_one_is_noticed(clips):
    _, index = scanned(clips.moving("a.mp4", *X264))
    other = clips.moving("a.mp4", *X264, seconds=1)
    with FrameReader(other, index) as reader, pytest.raises(MediaUnreadable, match="cannot be read any more"):
        list(reader.read([40]))


@pytest.mark.parametrize("rate", ["24", "25", "24000/1001", "30000/1001", "30", "50", "60000/1001", "60"])
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_the_index_knows_the_exact_rate(clips, rate, container):
    _, index = scanned(clips.moving(f"a.{container}", *X264, size="64x48", rate=rate, seconds=1))
    assert index.rate == Fraction(rate)
    assert index.is_constant
    assert abs(index.duration_s - index.frames / index.rate) < Fraction(1, 500)


def test_an_uneven_clip_has_a_standard_rate_and_is_not_constant(clips):
    _, index = scanned(
        clips.moving("a.mp4", "-vf", "select='mod(n,3)'", "-fps_mode", "vfr", *X264, rate="30")
    )
    assert index.rate == 20
    assert not index.is_constant


def test_a_clip_that_dropped_a_few_frames_keeps_its_nominal_rate(clips):
    _, index = scanned(
        clips.moving("a.mp4", "-vf", "select='mod(n,9)'", "-fps_mode", "vfr", *X264, rate="30")
    )
    assert index.rate == 30
    assert not index.is_constant


def test_an_edit_list_hides_the_frames_it_hides(clips):
    whole = clips.moving("a.mp4", *X264, "-g", "25")
    cut = clips.make("cut.mp4", "-ss", "0.5", "-i", whole, "-c", "copy")
    with av.open(str(cut)) as container:
        plain = [frame.pts for frame in container.decode(video=0)]
    sums, index = scanned(cut)
    assert index.pts.tolist() == plain
    back = list(range(index.frames))[::-1]
    assert sums_read(cut, index, back, frame_bytes(index))[0] == sums[::-1]


def test_the_index_exists_only_at_the_end(clips):
    with open_scan(clips.moving("a.mp4", *X264)) as scan:
        next(iter(scan))
        with pytest.raises(InputError, match="after every picture"):
            _ = scan.index


def test_sound_alone_cannot_be_scanned(clips):
    with pytest.raises(MediaUnreadable, match="no picture"), open_scan(clips.tone("a.wav")):
        pass


@pytest.mark.parametrize("container", ["mkv", "webm"])
def test_a_cut_file_without_a_table_is_refused_at_once_naming_both_counts(clips, tmp_path, container):
    codec = ("-c:v", "libvpx", "-deadline", "realtime") if container == "webm" else X264
    whole = clips.moving(f"a.{container}", *codec, "-g", "10").read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        MediaUnreadable, match=rf"promises {len(whole)} bytes but holds only {len(whole) // 2}"
    ):
        probe(path)


def test_an_mp4_with_a_hole_in_its_data_is_refused_or_read_through_a_proxy(clips, tmp_path):
    data = bytearray(clips.moving("a.mp4", *X264, "-g", "10", "-movflags", "+faststart").read_bytes())
    start, stop = len(data) // 3, len(data) * 2 // 3
    data[start:stop] = bytes(stop - start)
    path = tmp_path / "hole.mp4"
    path.write_bytes(data)
    try:
        _, index = scanned(path)
    except MediaUnreadable as error:
        assert "promises 50 frames" in str(error)
    else:
        assert not index.is_seekable


def test_a_picture_track_without_frames_is_refused(clips, tmp_path):
    data = bytearray(clips.moving("a.mp4", *X264, "-movflags", "+faststart").read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaUnreadable):
        scanned(path)


def test_limits_hold_while_decoding_even_if_headers_lie(clips):
    path = clips.moving("a.webm", "-c:v", "libvpx", "-deadline", "realtime", "-live", "1", size="64x48")
    with pytest.raises(MediaTooLarge, match="more than 20 frames"):
        scanned(path, limits=MediaLimits(frame_pixels=20 * 64 * 48))
    with pytest.raises(MediaTooLarge, match="more than 1 seconds"):
        scanned(path, limits=MediaLimits(seconds=1))


def test_a_long_group_is_not_seekable_but_still_reads(clips):
    path = clips.moving("a.mp4", *X264, "-g", "10000", size="32x32", seconds=25)
    sums, index = scanned(path)
    assert not index.is_seekable
    numbers = [0, 1, 600, 599, 0]
    assert sums_read(path, index, numbers, frame_bytes(index))[0] == [sums[number] for number in numbers]


def test_an_index_that_says_unseekable_is_believed(clips):
    path = clips.moving("a.mp4", *BFRAMES, size="64x48")
    sums, index = scanned(path)
    numbers = [10, 11, 5, 40, 39]
    read, _ = sums_read(path, replace(index, is_seekable=False), numbers, frame_bytes(index))
    assert read == [sums[number] for number in numbers]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_decoder_threads_changes_nothing(clips, threads):
    path = clips.moving("a.mp4", *BFRAMES)
    assert scanned(path, threads=threads)[0] == scanned(path)[0]
