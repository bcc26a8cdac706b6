"""Open untrusted media containers with one demuxer and local files only, and select their streams."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from musetalk_core.errors import MediaUnreadable, NoAudioFound
from musetalk_core.media.source.codecs import CODEC_WHITELIST
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import FileType

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

_StreamT = TypeVar("_StreamT", bound="Stream")

_MAX_PROBE_BYTES = 5_000_000
_MAX_PROBE_US = 5_000_000
_OPEN_TIMEOUT_S = 30.0
MICROSECOND = Fraction(1, 1_000_000)
"""FFmpeg's unit of container-wide times, in seconds."""
_DURATION = re.compile(r"([0-9]{1,6}):([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]{1,12})?)")
"""Bounded digits, because a value such as 1e9999999999 seconds would exhaust memory as a Fraction."""


@contextmanager
def translate_media_errors(name: str) -> Generator[None]:
    """
    Translate FFmpeg's errors inside the block into `MediaUnreadable` with the format's name.

    Raises:
        MediaUnreadable: FFmpeg failed.
    """
    from av.error import FFmpegError, PatchWelcomeError

    try:
        yield
    except PatchWelcomeError as error:
        raise MediaUnreadable(
            f"The {name} file changes midway in a way that cannot be read, or uses a rare feature of its"
            " format; export it again in one piece.",
            format=name,
        ) from error
    except (FFmpegError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "bad text"
        raise MediaUnreadable(
            f"The {name} file is damaged or cut off ({reason}); export or upload it again.", format=name
        ) from error


@contextmanager
def open_container(path: Path, file_type: FileType, limits: MediaLimits) -> Generator[InputContainer]:
    """
    Open a container with the demuxer of its detected file type and no other.

    Args:
        path:      a local file.
        file_type: result of `sniff(path)`.
        limits:    decoders reject frames over `video_pixels`, whatever the header says.

    Raises:
        MediaUnreadable: the file cannot be opened, or reading it inside the block fails.
    """
    import av

    options = {
        "format_whitelist": file_type.demuxer,
        "protocol_whitelist": "file",
        "codec_whitelist": CODEC_WHITELIST,
        "probesize": str(_MAX_PROBE_BYTES),
        "analyzeduration": str(_MAX_PROBE_US),
        "max_pixels": str(limits.video_pixels),
    }
    with translate_media_errors(file_type.name):
        container = av.open(
            f"file:{path.absolute()}",
            "r",
            format=file_type.demuxer,
            options=options,
            metadata_errors="replace",
            timeout=(_OPEN_TIMEOUT_S, None),
        )
    with container:
        yield container


def video_stream(container: InputContainer) -> VideoStream | None:
    """Return the default or first video stream; cover art and thumbnails do not count."""
    from av.stream import Disposition

    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    return _default_stream([s for s in container.streams.video if not s.disposition & covers])


def audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the default or first audio stream."""
    return _default_stream(list(container.streams.audio))


def require_audio_stream(container: InputContainer) -> AudioStream:
    """
    Return the default or first audio stream.

    Raises:
        NoAudioFound: the container has no audio stream.
    """
    stream = audio_stream(container)
    if stream is None:
        raise NoAudioFound("The file has no sound track; send one that carries the speech.")
    return stream


def _default_stream(streams: list[_StreamT]) -> _StreamT | None:
    """Return the first stream with the default flag, which players choose, else the first one."""
    from av.stream import Disposition

    return next((s for s in streams if s.disposition & Disposition.default), next(iter(streams), None))


def stream_duration_s(container: InputContainer, stream: Stream) -> Fraction | None:
    """Return the duration of a stream in seconds as the container states it; None if it does not."""
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    tagged_duration_s = _parse_duration_tag(stream.metadata.get("DURATION", ""))
    if tagged_duration_s:
        return tagged_duration_s
    return container.duration * MICROSECOND if container.duration else None


def _parse_duration_tag(text: str) -> Fraction | None:
    """Parse Matroska's per-track DURATION tag, for example `00:01:02.345000000`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return Fraction(int(hours) * 3600 + int(minutes) * 60) + Fraction(seconds)
