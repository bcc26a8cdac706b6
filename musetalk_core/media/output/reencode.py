"""Encode a video again as H.264 from its normalised pictures, each at its own time, through filters."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from musetalk_core.media.output.ffmpeg import FfmpegProcess, build_command, file_url, find_ffmpeg
from musetalk_core.media.output.tags import MediaTags, metadata_options
from musetalk_core.media.output.video_encoder import BT709
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.scan import Scan, open_scan

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

    from musetalk_core.media.image.yuv_picture import Picture

_TIMEOUT_S: Final = 6 * 3600.0
_TIME_BASE: Final = Fraction(1, 90_000)
_LAST_PICTURE_S: Final = Fraction(1, 25)
"""Length of the last picture in results; one that is shown for longer is repeated before the end."""
_LAST_PICTURES: Final = 4
"""More than x264 reorders: mp4 takes the length of a track from the decoding times of its last pictures."""


def reencode(  # noqa: PLR0913  one option each
    video: Path,
    target: Path,
    *,
    sound: Path | None = None,
    filters: tuple[tuple[str, dict[str, str]], ...] = (),
    repeat_at: Sequence[Fraction] = (),
    crf: int = 18,
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
    ffmpeg: Path | None = None,
    tags: MediaTags | None = None,
) -> list[str]:
    """
    Encode a video as an mp4 with the pictures that engines see: upright, deinterlaced, 8-bit BT.709.

    Args:
        video:   a video file.
        target:  the .mp4 to write.
        sound:   an .m4a from `encode_audio_track`; None = a silent video.
        filters: ffmpeg video filters with their options.
        repeat_at: rising seconds at which a filter changes what is shown. If no picture follows soon, the
            one before is repeated there.
        crf:     x264 quality, 0 (lossless) to 51.
        limits:  checked against the headers and the decoded frames.
        ffmpeg:  the ffmpeg program; None = search for it.
        tags:    title and comment of the video; None = none.

    Returns:
        ffmpeg's messages, warnings included.

    Raises:
        MediaUnreadable, MediaTooLarge: the video cannot be read.
        EncodeError, DiskFull: the video could not be written.
    """
    with open_scan(video, limits) as scan:
        command = _command(find_ffmpeg(ffmpeg), sound, target, filters, crf, tags)
        with FfmpegProcess(command, has_stdin=True) as process:
            _send_pictures(scan, process, repeat_at)
            process.finish(_TIMEOUT_S)
            return process.messages


def _command(
    binary: Path,
    sound: Path | None,
    target: Path,
    filters: tuple[tuple[str, dict[str, str]], ...],
    crf: int,
    tags: MediaTags | None,
) -> list[str]:
    import ffmpeg as graph

    picture: Any = graph.input("pipe:0", format="nut")["v:0"]
    colors = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "range": "tv"}
    for name, options in (("setparams", colors), *filters):
        picture = picture.filter(name, **options)
    streams = [picture]
    if sound is not None:
        streams.append(graph.input(file_url(sound), format="mov", protocol_whitelist="file")["a:0"])
    options: dict[str, Any] = {
        "format": "mp4",
        "c:v": "libx264",
        "crf": crf,
        "preset": "fast",
        "pix_fmt": "yuv420p",
        **BT709,
        "c:a": "copy",
        "fps_mode": "passthrough",
        "enc_time_base": f"{_TIME_BASE.numerator}/{_TIME_BASE.denominator}",  # else 1/25 for any source
        "movflags": "+faststart",
        "map_metadata": -1,
        **metadata_options(tags),
    }
    command = build_command(binary, graph.output(*streams, file_url(target), **options))
    return [command[0], *command[1:-1], "-loglevel", "warning", command[-1]]


def _send_pictures(scan: Scan, process: FfmpegProcess, repeat_at: Sequence[Fraction]) -> None:
    import av
    from av.error import FFmpegError

    pipe = io.BufferedWriter(process.stdin, 1 << 20)  # pyright: ignore[reportArgumentType]  a raw pipe
    try:
        with av.open(pipe, "w", format="nut") as output:
            _write_pictures(_timed_pictures(scan, repeat_at), output)
        pipe.flush()
    except (FFmpegError, OSError) as error:
        raise process.failure() from error


def _timed_pictures(scan: Scan, repeat_at: Sequence[Fraction]) -> Iterator[tuple[Fraction, Picture]]:
    """Yield the pictures with their seconds, and those that are repeated."""
    waiting = iter(repeat_at)
    repeat_s = next(waiting, None)
    last: tuple[Fraction, Picture] | None = None
    shown_s = Fraction(0)

    def repeated(until_s: Fraction) -> Iterator[tuple[Fraction, Picture]]:
        nonlocal repeat_s, shown_s
        while repeat_s is not None and repeat_s < until_s:
            if last is not None and last[0] < repeat_s <= until_s - _LAST_PICTURE_S:
                yield repeat_s, last[1]
                shown_s = repeat_s
            repeat_s = next(waiting, None)

    for picture in scan:
        # A picture that starts after the sound is shown from the start.
        time_s = scan.time_s if scan.frames > 1 else Fraction(0)
        yield from repeated(time_s)
        last, shown_s = (time_s, picture), time_s
        yield last
    if last is None:
        return
    index = scan.index
    end_s = (index.lead + index.duration) * index.time_base
    yield from repeated(end_s)
    for number in range(_LAST_PICTURES, 0, -1):
        if (time_s := end_s - number * _LAST_PICTURE_S) >= shown_s + _LAST_PICTURE_S:
            yield time_s, last[1]


def _write_pictures(pictures: Iterator[tuple[Fraction, Picture]], output: OutputContainer) -> None:
    import av

    stream: VideoStream | None = None
    for time_s, picture in pictures:
        if stream is None:
            stream = output.add_stream("rawvideo", rate=25)
            stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = _TIME_BASE
        frame = av.VideoFrame.from_ndarray(picture.i420, "yuv420p")
        frame.pts, frame.time_base = round(time_s / _TIME_BASE), _TIME_BASE
        output.mux(stream.encode(frame))
    if stream is not None:
        output.mux(stream.encode(None))
