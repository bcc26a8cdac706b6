"""Probe media files: detect the type, check limits and describe streams before anything is decoded."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import MediaTooLarge, MediaUnreadable, NoAudioFound
from musetalk_core.media.frame_rates import DEFAULT_RATE, MAX_SOURCE_RATE, render_rate, source_rate
from musetalk_core.media.image.colour_volume import describe_colours, needs_conversion
from musetalk_core.media.image.frame_properties import check_supported, frame_orientation
from musetalk_core.media.image.orientation import even_size, square_pixel_size
from musetalk_core.media.image.still import exif_orientation, open_still, shown_size
from musetalk_core.media.source.codecs import AUDIO_CODECS, VIDEO_CODECS
from musetalk_core.media.source.container import (
    audio_stream,
    open_container,
    stream_duration_s,
    translate_media_errors,
    video_stream,
)
from musetalk_core.media.source.cropping import read_crop
from musetalk_core.media.source.info import AudioInfo, MediaInfo, MediaKind, VideoInfo
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import FileType, sniff
from musetalk_core.media.source.truncation import check_complete_file, check_complete_index, promised_frames
from musetalk_core.warning_codes import WarningCode

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["AudioInfo", "MediaInfo", "MediaKind", "VideoInfo", "probe", "require_audio", "require_picture"]

FIRST_FRAME_ONLY = WarningCode.FIRST_FRAME_ONLY("the image file holds more frames; the first one is used")
_MAX_FIRST_FRAME_PACKETS = 500
_DECODABLE_TYPES = frozenset({"video", "audio", "subtitle"})


def probe(path: Path, limits: MediaLimits = MediaLimits()) -> MediaInfo:  # noqa: B008  frozen, so sharing it is safe
    """
    Detect the type of a file, check it against the limits and describe its video and audio.

    Args:
        path:   a local file; its name is ignored.
        limits: checked against the headers, before any frame is decoded.

    Raises:
        MediaUnreadable: the file is empty, not media, a playlist, truncated, or cannot be decoded.
        MediaTooLarge: the file exceeds a limit.
    """
    file_type = sniff(path)
    if file_type.is_still:
        _check_bytes(path, limits.still_bytes)
        return _probe_still(path, file_type, limits)
    check_complete_file(path, file_type)
    with open_container(path, file_type, limits) as container:
        return _probe_streams(path, file_type, container, limits)


def require_picture(info: MediaInfo) -> VideoInfo:
    """
    Return the video or image of a file.

    Raises:
        MediaUnreadable: the file has only audio.
    """
    if info.video is None:
        raise MediaUnreadable(f"The {info.container} file has no picture; send a video or an image.")
    return info.video


def require_audio(info: MediaInfo) -> AudioInfo:
    """
    Return the audio track of a file.

    Raises:
        NoAudioFound: the file has no audio track.
    """
    if info.audio is None:
        raise NoAudioFound(f"The {info.container} file has no sound track; send one that carries the speech.")
    return info.audio


def _probe_still(path: Path, file_type: FileType, limits: MediaLimits) -> MediaInfo:
    with open_still(path, file_type, limits) as image:
        width, height = shown_size(image, limits)
        turn, mode = exif_orientation(image), image.mode
        warnings = (FIRST_FRAME_ONLY,) if getattr(image, "is_animated", False) else ()
    video = VideoInfo(
        width, height, turn.clockwise_degrees, DEFAULT_RATE, file_type.name, mode, 1, DEFAULT_RATE, warnings
    )
    return MediaInfo("still", file_type.name, None, video, None)


def _probe_streams(
    path: Path, file_type: FileType, container: InputContainer, limits: MediaLimits
) -> MediaInfo:
    video_track, audio_track = video_stream(container), audio_stream(container)
    if video_track is None and audio_track is None:
        raise MediaUnreadable(f"The {file_type.name} file holds neither picture nor sound.")
    _check_bytes(path, limits.video_bytes if video_track else limits.audio_bytes)
    # Phone cameras add several data tracks, which cost nothing; only streams that can be decoded count.
    decodable = [stream for stream in container.streams if stream.type in _DECODABLE_TYPES]
    _check_limit("streams", len(decodable), limits.streams)
    audio = _audio_info(container, audio_track, limits) if audio_track else None
    for stream in (video_track, audio_track):
        if stream is not None:
            check_complete_index(path, stream, file_type)
    video = _video_info(path, container, video_track, file_type, limits) if video_track else None
    duration = stream_duration_s(container, video_track) if video_track else audio and audio.duration_s
    return MediaInfo("video" if video_track else "audio", file_type.name, duration, video, audio)


def _check_bytes(path: Path, max_bytes: int) -> None:
    size = path.stat().st_size
    if size > max_bytes:
        raise MediaTooLarge(
            f"The file has {size / 1e6:.0f} MB; the limit is {max_bytes / 1e6:.0f} MB; shorten it."
        )


def _check_limit(quantity: str, value: float, limit: float) -> None:
    if value > limit:
        raise MediaTooLarge(
            f"The file has {value:.10g} {quantity}; the limit is {limit:.10g}.", limit=quantity
        )


def _audio_info(container: InputContainer, stream: AudioStream, limits: MediaLimits) -> AudioInfo:
    codec = _accepted_codec(stream, "sound")
    duration = stream_duration_s(container, stream)
    _check_limit("seconds of sound", math.ceil(duration or 0), limits.seconds)
    if not stream.sample_rate or not stream.channels:
        raise MediaUnreadable(f"The {codec} sound track is damaged: it has no sample rate; export it again.")
    return AudioInfo(codec, stream.sample_rate, stream.channels, duration)


def _accepted_codec(stream: VideoStream | AudioStream, what: str) -> str:
    context: Any = stream.codec_context  # None where no decoder exists
    name = "an unknown codec" if context is None else str(context.codec.canonical_name)
    if name not in VIDEO_CODECS | AUDIO_CODECS:
        accepted = "H.264 and AAC" if what == "picture" else "WAV, MP3 or AAC"
        raise MediaUnreadable(
            f"The {what} is coded as {name}, which is not accepted; export it as {accepted}."
        )
    return name


def _video_info(
    path: Path, container: InputContainer, stream: VideoStream, file_type: FileType, limits: MediaLimits
) -> VideoInfo:
    codec = _accepted_codec(stream, "picture")
    _check_limit("pixels in a frame", stream.width * stream.height, limits.video_pixels)
    shown_size = square_pixel_size(stream.width, stream.height, stream.sample_aspect_ratio)
    _check_limit("pixels in a frame as shown", shown_size[0] * shown_size[1], limits.video_pixels)
    average = stream.average_rate
    _check_limit("frames per second", float(average or 0), MAX_SOURCE_RATE)
    seconds = stream_duration_s(container, stream)
    _check_limit("seconds of video", math.ceil(seconds or 0), limits.seconds)
    frames = promised_frames(stream) or (round(seconds * average) if seconds and average else None)
    _check_limit("frames times pixels", (frames or 0) * shown_size[0] * shown_size[1], limits.frame_pixels)
    rate = source_rate(average, stream.base_rate, MAX_SOURCE_RATE)
    frame = _first_frame(container, stream, file_type)
    check_supported(frame)
    turn = frame_orientation(frame)
    crop = read_crop(path, container, stream)
    stored = crop.size(frame.width, frame.height) if crop else (frame.width, frame.height)
    width, height = even_size(*turn.oriented_size(*square_pixel_size(*stored, stream.sample_aspect_ratio)))
    rendered = render_rate(rate, limits.rate_hz)
    warnings = (*_rate_warnings(average or rate, rate, rendered), *_colour_warnings(frame))
    return VideoInfo(
        width,
        height,
        turn.clockwise_degrees,
        rate,
        codec,
        frame.format.name,
        frames,
        rendered,
        warnings,
        is_cropped=crop is not None,
    )


def _rate_warnings(average: Fraction, rate: Fraction, rendered: Fraction) -> tuple[str, ...]:
    source = float(average)
    if rendered > rate:
        return (
            WarningCode.LOW_FRAME_RATE(
                f"the source has {source:.3g} frames per second; it is rendered at {float(rendered):.4g}, and"
                " only the lips move at that rate"
            ),
        )
    if rendered < rate:
        return (
            WarningCode.HIGH_FRAME_RATE(
                f"the source has {source:.4g} frames per second; it is rendered at {float(rendered):.4g}"
            ),
        )
    return ()


def _colour_warnings(frame: VideoFrame) -> tuple[str, ...]:
    if not needs_conversion(frame):
        return ()
    return (WarningCode.TONE_MAPPED(f"the {describe_colours(frame)} colors were converted to BT.709"),)


def _first_frame(container: InputContainer, stream: VideoStream, file_type: FileType) -> VideoFrame:
    with translate_media_errors(file_type.name):
        for packet, _ in zip(container.demux(stream), range(_MAX_FIRST_FRAME_PACKETS), strict=False):
            for frame in packet.decode():
                return frame
    raise MediaUnreadable(
        f"The {file_type.name} file has a picture track without a single frame; export it again."
    )
