"""Encoding pictures into H.264: one ffmpeg fed with raw frames, exact times, BT.709 tags, whole files."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from musetalk_core.errors import EncodeError, InputError
from musetalk_core.media.ffmpeg import Process, command, file_url, find_ffmpeg
from musetalk_core.media.files import replacing
from musetalk_core.media.picture import Picture

DEFAULT_CRF = 18
DEFAULT_PRESET = "fast"
_LOOKAHEAD = {"veryfast": 10, "faster": 20, "fast": 30, "medium": 40, "slow": 50, "slower": 60}
"""Frames that x264 keeps to plan its bits, by preset; none in the quicker ones."""
_LOOKAHEAD_BYTES = 64_000_000
_LEAST_LOOKAHEAD = 10
_FINISH_S = 600.0
_PIPE_BYTES = 1 << 20
_LEAST_TIMESCALE = 10_000
_BT709 = {
    "colorspace": "bt709",
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "color_range": "tv",
}


def timescale(rate: Fraction) -> int:
    """Return ticks per second in which every frame of a rate lasts a whole number of ticks."""
    return rate.numerator * -(-_LEAST_TIMESCALE // rate.numerator)


class VideoEncoder:
    """
    Writes one mp4 without sound. Leaving the block by an exception leaves no file.

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
        Describe the video; ffmpeg starts with the block.

        Args:
            path:    the .mp4 to write.
            width:   of every picture, even.
            height:  of every picture, even.
            rate:    frames per second.
            crf:     x264's quality, 0 (lossless) to 51.
            preset:  x264's speed.
            ffmpeg:  the program; None = search.
            threads: of the encoder; None = one a core.

        Raises:
            InputError: a side is odd or the rate not positive.
        """
        if width % 2 or height % 2 or rate <= 0:
            raise InputError(f"a video of {width}x{height} at {rate} frames per second cannot be encoded")
        self._path, self._size, self._rate = path, (width, height), rate
        self._options: dict[str, Any] = {"crf": crf, "preset": preset}
        if threads is not None:
            self._options["threads"] = threads
        lookahead = max(_LEAST_LOOKAHEAD, _LOOKAHEAD_BYTES // (width * height * 3 // 2))
        if _LOOKAHEAD.get(preset, 0) > lookahead:  # at 1080p 20 frames are left of any more, at 4K 10
            self._options["rc-lookahead"] = lookahead
        self._ffmpeg, self._stack = ffmpeg, ExitStack()
        self._process: Process | None = None
        self.frames = 0
        """Pictures written so far."""

    def _words(self, target: Path) -> list[str]:
        import ffmpeg

        width, height = self._size
        raw = {"format": "rawvideo", "pixel_format": "yuv420p", "s": f"{width}x{height}", **_BT709}
        picture = ffmpeg.input("pipe:0", framerate=str(self._rate), **raw)
        scale = timescale(self._rate)
        out = {
            "format": "mp4",
            "c:v": "libx264",
            "pix_fmt": "yuv420p",
            **self._options,
            **_BT709,
            "fps_mode": "passthrough",
            "video_track_timescale": scale,
            "movie_timescale": scale,
            "movflags": "+faststart",
            "map_metadata": -1,
            "fflags": "+bitexact",
        }
        return command(find_ffmpeg(self._ffmpeg), ffmpeg.output(picture, file_url(target), **out))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            target = stack.enter_context(replacing(self._path))
            self._process = stack.enter_context(Process(self._words(target), feeds=True))
            _widen(self._process)
            stack.push(self._settle)
            self._stack = stack.pop_all()
        return self

    def _settle(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        """Let ffmpeg finish when all went well; otherwise the stack kills it."""
        if error is not None:
            return
        if self.frames == 0:
            raise EncodeError("A video needs at least one frame.")
        self._running().finish(_FINISH_S)

    def write(self, picture: Picture) -> None:
        """
        Append one picture.

        Raises:
            InputError: it has another size.
            DiskFull: there is no room for the video.
            EncodeError: ffmpeg failed.
        """
        if (picture.width, picture.height) != self._size:
            raise InputError(f"a {picture.width}x{picture.height} picture in a {self._size} video")
        process = self._running()
        try:
            _feed(process, picture)
        except OSError as error:
            raise process.failure() from error
        self.frames += 1

    def _running(self) -> Process:
        if self._process is None:
            raise EncodeError("a VideoEncoder must be entered before it is written to")
        return self._process

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)


def _widen(process: Process) -> None:
    """Let the pipe hold more than the usual 64 kB, so that both sides wait less often."""
    size = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux only
    if size is None or process.stdin is None:
        return
    with suppress(OSError):  # refused where an unprivileged user has used up his share
        fcntl.fcntl(process.stdin.fileno(), size, _PIPE_BYTES)


def _feed(process: Process, picture: Picture) -> None:
    if process.stdin is None:
        raise EncodeError("ffmpeg was started without an input")
    data = np.ascontiguousarray(picture.i420).data.cast("B")
    while data:
        data = data[process.stdin.write(data) or 0 :]
