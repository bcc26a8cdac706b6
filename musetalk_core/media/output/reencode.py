"""Encode a video again as H.264 from its normalised pictures, each at its own time, through filters."""

from __future__ import annotations

import io
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

_TIMEOUT_S: Final = 6 * 3600.0
_TIME_BASE: Final = Fraction(1, 90_000)


def reencode(
    video: Path,
    target: Path,
    *,
    sound: Path | None = None,
    filters: tuple[tuple[str, dict[str, str]], ...] = (),
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
            _send_pictures(scan, process)
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
        "movflags": "+faststart",
        "map_metadata": -1,
        **metadata_options(tags),
    }
    command = build_command(binary, graph.output(*streams, file_url(target), **options))
    return [command[0], *command[1:-1], "-loglevel", "warning", command[-1]]


def _send_pictures(scan: Scan, process: FfmpegProcess) -> None:
    import av
    from av.error import FFmpegError

    pipe = io.BufferedWriter(process.stdin, 1 << 20)  # pyright: ignore[reportArgumentType]  a raw pipe
    try:
        with av.open(pipe, "w", format="nut") as output:
            _write_pictures(scan, output)
        pipe.flush()
    except (FFmpegError, OSError) as error:
        raise process.failure() from error


def _write_pictures(scan: Scan, output: OutputContainer) -> None:
    import av

    stream: VideoStream | None = None
    for picture in scan:
        if stream is None:
            stream = output.add_stream("rawvideo", rate=25)
            stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = _TIME_BASE
        # A picture that starts after the sound is shown from the start.
        time_s = scan.time_s if scan.frames > 1 else Fraction(0)
        frame = av.VideoFrame.from_ndarray(picture.i420, "yuv420p")
        frame.pts, frame.time_base = round(time_s / _TIME_BASE), _TIME_BASE
        output.mux(stream.encode(frame))
    if stream is not None:
        output.mux(stream.encode(None))
