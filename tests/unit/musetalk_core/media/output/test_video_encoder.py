"""Encoding: every picture once, at its exact time, tagged, and never half a file."""

import os
import resource
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from musetalk_core.errors import DiskFull, EncodeError, EncoderKilled, InputError
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from musetalk_core.media.output.video_encoder import VideoEncoder, timescale
from musetalk_core.media.video.frames import open_scan

RATES = ["24", "25", "24000/1001", "30000/1001", "30", "50", "60000/1001", "60", "25/2"]


def pictures(count, width=64, height=48, seed=0):
    rng = np.random.default_rng(seed)
    return [Picture(rng.integers(16, 235, (height * 3 // 2, width), np.uint8)) for _ in range(count)]


def encoded(path, frames, rate=Fraction(25), **options):
    with VideoEncoder(path, frames[0].width, frames[0].height, rate, **options) as encoder:
        for frame in frames:
            encoder.write(frame)
    return path


@pytest.mark.parametrize("rate", RATES)
def test_every_frame_has_its_exact_time(tmp_path, rate):
    rate = Fraction(rate)
    path = encoded(tmp_path / "a.mp4", pictures(31), rate)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
        assert times == [number / rate for number in range(31)]
        assert stream.duration * stream.time_base == 31 / rate
        assert stream.average_rate == rate
        assert stream.time_base == Fraction(1, timescale(rate))


def test_encoding_without_loss_gives_the_bytes_back(tmp_path):
    frames = pictures(5)
    path = encoded(tmp_path / "a.mp4", frames, crf=0)
    with open_scan(path) as scan:
        for found, wanted in zip(scan, frames, strict=True):
            np.testing.assert_array_equal(found.i420, wanted.i420)


def test_the_file_is_tagged_starts_fast_and_says_nothing_about_its_maker(tmp_path):
    path = encoded(tmp_path / "a.mp4", pictures(5))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (
            1,
            1,
            1,
            1,
        )
        assert set(container.metadata) <= {"major_brand", "minor_version", "compatible_brands"}
        assert not container.streams.audio


def test_an_exception_in_the_block_leaves_nothing_and_no_process(tmp_path):
    with pytest.raises(ZeroDivisionError), VideoEncoder(tmp_path / "a.mp4", 64, 48, Fraction(25)) as encoder:
        encoder.write(pictures(1)[0])
        pid = encoder._process._process.pid
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_exception_leaves_the_older_file_alone(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), VideoEncoder(tmp_path / "a.mp4", 64, 48, Fraction(25)):
        raise ZeroDivisionError
    assert (tmp_path / "a.mp4").read_bytes() == b"older"


def test_no_frames_are_no_video(tmp_path):
    with (
        pytest.raises(EncodeError, match="at least one frame"),
        VideoEncoder(tmp_path / "a.mp4", 64, 48, Fraction(25)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_another_size_is_refused(tmp_path):
    with (
        pytest.raises(InputError, match="32x48 picture"),
        VideoEncoder(tmp_path / "a.mp4", 64, 48, Fraction(25)) as encoder,
    ):
        encoder.write(pictures(1, width=32)[0])


@pytest.mark.parametrize(("width", "height", "rate"), [(63, 48, 25), (64, 47, 25), (64, 48, 0)])
def test_what_cannot_be_encoded_is_refused(tmp_path, width, height, rate):
    with pytest.raises(InputError):
        VideoEncoder(tmp_path / "a.mp4", width, height, Fraction(rate))


def test_a_failing_ffmpeg_is_reported_in_its_own_words(tmp_path):
    with (
        pytest.raises(EncodeError, match="preset"),
        VideoEncoder(tmp_path / "a.mp4", 64, 48, Fraction(25), preset="nonsense") as encoder,
    ):
        for frame in pictures(200):
            encoder.write(frame)
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_that_is_killed_midway_may_be_tried_again(tmp_path):
    with (
        pytest.raises(EncoderKilled, match="signal 9") as raised,
        VideoEncoder(tmp_path / "a.mp4", 64, 48, Fraction(25)) as encoder,
    ):
        for number, frame in enumerate(pictures(2000)):
            if number == 5:
                os.kill(encoder._process._process.pid, 9)
            encoder.write(frame)
    assert raised.value.retryable
    assert list(tmp_path.iterdir()) == []


def test_a_named_ffmpeg_that_is_not_there_is_reported(tmp_path):
    with (
        pytest.raises(EncodeError, match="no ffmpeg program"),
        VideoEncoder(tmp_path / "a.mp4", 64, 48, Fraction(25), ffmpeg=tmp_path / "absent"),
    ):
        pass


def test_a_named_ffmpeg_wins():
    assert find_ffmpeg(Path(sys.executable)) == Path(sys.executable)


def test_a_file_size_limit_is_a_full_disk_and_leaves_nothing(tmp_path):
    code = f"""
    import sys
    from fractions import Fraction
    from pathlib import Path
    import numpy as np
    from musetalk_core.errors import DiskFull
    from musetalk_core.media.output.video_encoder import VideoEncoder
    from musetalk_core.media.image.yuv_picture import Picture

    rng = np.random.default_rng(0)
    try:
        with VideoEncoder(Path({str(tmp_path)!r}) / "a.mp4", 320, 240, Fraction(25), crf=0) as encoder:
            for _ in range(100):
                encoder.write(Picture(rng.integers(16, 235, (360, 320), np.uint8)))
    except DiskFull:
        sys.exit(42)
    """
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))  # noqa: E731
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 42, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_device_is_a_full_disk(tmp_path, monkeypatch):
    import errno

    from musetalk_core.formats.atomic_files import replace_atomically

    with pytest.raises(DiskFull, match="free some space"), replace_atomically(tmp_path / "a.bin") as path:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "preset", "lookahead"),
    [
        ((1280, 720), "medium", None),
        ((1920, 1080), "fast", 20),
        ((1920, 1080), "veryfast", None),
        ((1920, 1080), "ultrafast", None),
        ((3840, 2160), "slower", 10),
    ],
)
def test_large_pictures_are_not_looked_ahead_without_bound(tmp_path, size, preset, lookahead):
    target = tmp_path / "out.mp4"
    words = VideoEncoder(target, *size, Fraction(25), preset=preset)._build_command(target)

    given = words[words.index("-rc-lookahead") + 1] if "-rc-lookahead" in words else None
    assert given == (None if lookahead is None else str(lookahead))
