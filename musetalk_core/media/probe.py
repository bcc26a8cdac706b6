"""Probe media files: detect the type, check limits and describe streams before anything is decoded."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import MediaTooLarge, MediaUnreadable, NoAudioFound
from musetalk_core.media.codecs import PICTURE_CODECS, SOUND_CODECS
from musetalk_core.media.container import (
    media_errors,
    opened,
    picture_stream,
    sound_stream,
    stream_seconds,
)
from musetalk_core.media.geometry import evened_size, square_size
from musetalk_core.media.info import AudioInfo, Kind, MediaInfo, VideoInfo
from musetalk_core.media.limits import Limits
from musetalk_core.media.normalise import frame_turn
from musetalk_core.media.rates import DEFAULT_RATE, source_rate
from musetalk_core.media.sniff import Sniffed, sniff
from musetalk_core.media.still import opened_still, shown_size, turn_of
from musetalk_core.media.truncation import promised_frames, refuse_cut_file, refuse_cut_table

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["AudioInfo", "Kind", "MediaInfo", "VideoInfo", "probe", "require_picture", "require_sound"]

_FIRST_FRAME_PACKETS = 500
_DECODABLE = frozenset({"video", "audio", "subtitle"})
_RATE_SLACK = Fraction(1001, 1000)


def probe(path: Path, limits: Limits = Limits()) -> MediaInfo:  # noqa: B008  frozen, so sharing it is safe
    """
    Detect the type of a file, check it against the limits and describe its video and audio.

    Args:
        path:   a local file; its name is ignored.
        limits: checked against the headers, before any frame is decoded.

    Raises:
        MediaUnreadable: the file is empty, not media, a playlist, truncated, or cannot be decoded.
        MediaTooLarge: the file exceeds a limit.
    """
    sniffed = sniff(path)
    if sniffed.is_still:
        _refuse_bytes(path, limits.still_bytes)
        return _still(path, sniffed, limits)
    refuse_cut_file(path, sniffed)
    with opened(path, sniffed, limits) as container:
        return _media(path, sniffed, container, limits)


def require_picture(info: MediaInfo) -> VideoInfo:
    """
    Return the video or image of a file.

    Raises:
        MediaUnreadable: the file has only audio.
    """
    if info.video is None:
        raise MediaUnreadable(f"The {info.container} file has no picture; send a video or an image.")
    return info.video


def require_sound(info: MediaInfo) -> AudioInfo:
    """
    Return the audio track of a file.

    Raises:
        NoAudioFound: the file has no audio track.
    """
    if info.audio is None:
        raise NoAudioFound(f"The {info.container} file has no sound track; send one that carries the speech.")
    return info.audio


def _still(path: Path, sniffed: Sniffed, limits: Limits) -> MediaInfo:
    with opened_still(path, sniffed, limits) as image:
        width, height = shown_size(image, limits)
        turn, mode = turn_of(image), image.mode
    video = VideoInfo(width, height, turn.clockwise, DEFAULT_RATE, sniffed.name, mode, 1)
    return MediaInfo("still", sniffed.name, None, video, None)


def _media(path: Path, sniffed: Sniffed, container: InputContainer, limits: Limits) -> MediaInfo:
    picture, sound = picture_stream(container), sound_stream(container)
    if picture is None and sound is None:
        raise MediaUnreadable(f"The {sniffed.name} file holds neither picture nor sound.")
    _refuse_bytes(path, limits.video_bytes if picture else limits.audio_bytes)
    # Phone cameras add several data tracks, which cost nothing; only streams that can be decoded count.
    decodable = [stream for stream in container.streams if stream.type in _DECODABLE]
    _refuse_over("streams", len(decodable), limits.streams)
    audio = _audio(container, sound, limits) if sound else None
    for stream in (picture, sound):
        if stream is not None:
            refuse_cut_table(path, stream, sniffed)
    video = _video(container, picture, sniffed, limits) if picture else None
    duration = stream_seconds(container, picture) if picture else audio and audio.duration_s
    return MediaInfo("video" if picture else "audio", sniffed.name, duration, video, audio)


def _refuse_bytes(path: Path, most: int) -> None:
    size = path.stat().st_size
    if size > most:
        raise MediaTooLarge(
            f"The file has {size / 1e6:.0f} MB; the limit is {most / 1e6:.0f} MB; shorten it."
        )


def _refuse_over(what: str, found: float, most: float) -> None:
    if found > most:
        raise MediaTooLarge(f"The file has {found:.10g} {what}; the limit is {most:.10g}.", limit=what)


def _audio(container: InputContainer, stream: AudioStream, limits: Limits) -> AudioInfo:
    codec = _codec(stream, "sound")
    duration = stream_seconds(container, stream)
    _refuse_over("seconds of sound", math.ceil(duration or 0), limits.seconds)
    if not stream.sample_rate or not stream.channels:
        raise MediaUnreadable(f"The {codec} sound track is damaged: it has no sample rate; export it again.")
    return AudioInfo(codec, stream.sample_rate, stream.channels, duration)


def _codec(stream: VideoStream | AudioStream, what: str) -> str:
    context: Any = stream.codec_context  # None where no decoder exists
    name = "an unknown codec" if context is None else str(context.codec.canonical_name)
    if name not in PICTURE_CODECS | SOUND_CODECS:
        raise MediaUnreadable(
            f"The {what} is coded as {name}, which is not accepted; export it as H.264 and AAC."
        )
    return name


def _video(container: InputContainer, stream: VideoStream, sniffed: Sniffed, limits: Limits) -> VideoInfo:
    codec = _codec(stream, "picture")
    _refuse_over("pixels in a frame", stream.width * stream.height, limits.video_pixels)
    shown = square_size(stream.width, stream.height, stream.sample_aspect_ratio)
    _refuse_over("pixels in a frame as shown", shown[0] * shown[1], limits.video_pixels)
    average = stream.average_rate
    _refuse_over("frames per second", float(average or 0), float(limits.rate_hz * _RATE_SLACK))
    seconds = stream_seconds(container, stream)
    _refuse_over("seconds of video", math.ceil(seconds or 0), limits.seconds)
    frames = promised_frames(stream) or (round(seconds * average) if seconds and average else None)
    _refuse_over("frames times pixels", (frames or 0) * shown[0] * shown[1], limits.frame_pixels)
    rate = source_rate(average, stream.base_rate, limits.rate_hz)
    frame = _first_frame(container, stream, sniffed)
    turn = frame_turn(frame)
    width, height = evened_size(
        *turn.size(*square_size(frame.width, frame.height, stream.sample_aspect_ratio))
    )
    return VideoInfo(width, height, turn.clockwise, rate, codec, frame.format.name, frames)


def _first_frame(container: InputContainer, stream: VideoStream, sniffed: Sniffed) -> VideoFrame:
    with media_errors(sniffed.name):
        for packet, _ in zip(container.demux(stream), range(_FIRST_FRAME_PACKETS), strict=False):
            for frame in packet.decode():
                return frame
    raise MediaUnreadable(
        f"The {sniffed.name} file has a picture track without a single frame; export it again."
    )
