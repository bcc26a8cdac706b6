"""Encode frames as H.264 in an mp4 with one ffmpeg process: exact timestamps, BT.709 tags, atomic files."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from musetalk_core.errors import EncodeError, InputError
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.ffmpeg import FfmpegProcess, build_command, file_url, find_ffmpeg

DEFAULT_CRF = 18
DEFAULT_PRESET = "fast"
_LOOKAHEAD_FRAMES = {"veryfast": 10, "faster": 20, "fast": 30, "medium": 40, "slow": 50, "slower": 60}
"""Frames that x264 buffers for its lookahead, by preset; faster presets buffer none."""
_MAX_LOOKAHEAD_BYTES = 64_000_000
_MIN_LOOKAHEAD_FRAMES = 10
_FINISH_TIMEOUT_S = 600.0
_PIPE_BYTES = 1 << 20
_MIN_TIMESCALE = 10_000
BT709 = {
    "colorspace": "bt709",
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "color_range": "tv",
}
"""ffmpeg's options for the color tags of every encoded video."""


def timescale(rate: Fraction) -> int:
    """Return a time scale (ticks per second) at which each frame lasts a whole number of ticks."""
    return rate.numerator * -(-_MIN_TIMESCALE // rate.numerator)


class VideoEncoder:
    """
    A writer of one mp4 without audio. If the `with` block ends with an exception, no file is written.

        with VideoEncoder(path, width, height, rate) as encoder:
            for picture in pictures:
                encoder.write(picture)
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        rate: Fraction,
        *,
        crf: int = DEFAULT_CRF,
        preset: str = DEFAULT_PRESET,
        ffmpeg: Path | None = None,
        threads: int | None = None,
    ) -> None:
        """
        Describe the video. ffmpeg is started on entering the `with` block.

        Args:
            path:    the .mp4 to write.
            width:   of every frame in pixels, even.
            height:  of every frame in pixels, even.
            rate:    frames per second.
            crf:     x264 quality, 0 (lossless) to 51.
            preset:  x264 speed preset.
            ffmpeg:  the ffmpeg program; None = search for it.
            threads: encoder threads; None = one per core.

        Raises:
            InputError: a side is odd or the rate is not positive.
        """
        if width % 2 or height % 2 or rate <= 0:
            raise InputError(f"a video of {width}x{height} at {rate} frames per second cannot be encoded")
        self._path, self._size, self._rate = path, (width, height), rate
        self._options: dict[str, Any] = {"crf": crf, "preset": preset}
        if threads is not None:
            self._options["threads"] = threads
        lookahead = max(_MIN_LOOKAHEAD_FRAMES, _MAX_LOOKAHEAD_BYTES // (width * height * 3 // 2))
        if _LOOKAHEAD_FRAMES.get(preset, 0) > lookahead:  # bounds memory: 20 frames at 1080p, 10 at 4K
            self._options["rc-lookahead"] = lookahead
        self._ffmpeg, self._stack = ffmpeg, ExitStack()
        self._process: FfmpegProcess | None = None
        self.frames = 0
        """Number of frames written so far."""

    def _build_command(self, target: Path) -> list[str]:
        import ffmpeg

        width, height = self._size
        input_options = {"format": "rawvideo", "pixel_format": "yuv420p", "s": f"{width}x{height}", **BT709}
        raw_input = ffmpeg.input("pipe:0", framerate=str(self._rate), **input_options)
        scale = timescale(self._rate)
        output_options = {
            "format": "mp4",
            "c:v": "libx264",
            "pix_fmt": "yuv420p",
            **self._options,
            **BT709,
            "fps_mode": "passthrough",
            "video_track_timescale": scale,
            "movie_timescale": scale,
            "movflags": "+faststart",
            "map_metadata": -1,
            "fflags": "+bitexact",
        }
        return build_command(
            find_ffmpeg(self._ffmpeg), ffmpeg.output(raw_input, file_url(target), **output_options)
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            target = stack.enter_context(replace_atomically(self._path))
            self._process = stack.enter_context(FfmpegProcess(self._build_command(target), has_stdin=True))
            _enlarge_pipe(self._process)
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def _finish(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        """Wait for ffmpeg to finish if the block ended without an error; else the exit stack kills it."""
        if error is not None:
            return
        if self.frames == 0:
            raise EncodeError("A video needs at least one frame.")
        self._require_process().finish(_FINISH_TIMEOUT_S)

    def write(self, picture: Picture) -> None:
        """
        Append one frame.

        Raises:
            InputError: the frame has another size.
            DiskFull: the disk is full.
            EncodeError: ffmpeg failed.
        """
        if (picture.width, picture.height) != self._size:
            raise InputError(f"a {picture.width}x{picture.height} picture does not fit a {self._size} video")
        process = self._require_process()
        try:
            _write_picture(process, picture)
        except OSError as error:
            raise process.failure() from error
        self.frames += 1

    def _require_process(self) -> FfmpegProcess:
        if self._process is None:
            raise EncodeError("a VideoEncoder must be entered before it is written to")
        return self._process

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)


def _enlarge_pipe(process: FfmpegProcess) -> None:
    """Enlarge the pipe from 64 kB to 1 MB, so that both processes block less often."""
    size = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux only
    if size is None or process.stdin is None:
        return
    with suppress(OSError):  # refused if an unprivileged user has exceeded the pipe memory limit
        fcntl.fcntl(process.stdin.fileno(), size, _PIPE_BYTES)


def _write_picture(process: FfmpegProcess, picture: Picture) -> None:
    if process.stdin is None:
        raise EncodeError("ffmpeg was started without an input")
    data = np.ascontiguousarray(picture.i420).data.cast("B")
    while data:
        data = data[process.stdin.write(data) or 0 :]
