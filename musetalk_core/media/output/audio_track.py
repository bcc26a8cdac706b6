"""Write the sound of any file as an AAC track for an mp4."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from musetalk_core.errors import EncodeError
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.media.audio.track import SoundTrack, open_sound
from musetalk_core.media.output.ffmpeg import (
    FfmpegProcess,
    build_command,
    file_url,
    find_ffmpeg,
    run_ffmpeg,
)
from musetalk_core.media.probe import probe, require_audio
from musetalk_core.media.source.container import open_container, require_audio_stream
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import sniff

_AAC_RATES_HZ: Final = (44_100, 48_000)
_TIMEOUT_S: Final = 3600.0
_MAX_START_US: Final = 1000
_MAX_PRIMING_PACKETS: Final = 3
"""Packets of encoder delay (priming) at the start of an AAC track, which edit lists hide."""
_CONTAINER_OPTIONS: Final[dict[str, Any]] = {
    "format": "mp4",
    "map_metadata": -1,
    "map_chapters": -1,
    "fflags": "+bitexact",
}


def can_copy_audio(speech: Path, limits: MediaLimits) -> bool:
    """Return whether the audio can be copied: AAC that players support, on a simple timeline."""
    audio = require_audio(probe(speech, limits))
    is_common_aac = audio.codec == "aac" and audio.sample_rate in _AAC_RATES_HZ and audio.channels <= 2
    return is_common_aac and _has_simple_timeline(speech)


def encode_audio_track(
    speech: Path,
    target: Path,
    *,
    audio_bitrate: str = "192k",
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
    ffmpeg: Path | None = None,
) -> None:
    """
    Write the audio of any file as an .m4a that `join_chunks` can copy: AAC at 44.1 or 48 kHz, mono or stereo.

    Audio that is already in this form is copied; other audio is decoded by `open_sound`, as it is for the
    lips. The caller can run this in parallel with rendering.

    Args:
        speech:        any file with an audio track.
        target:        the .m4a to write.
        audio_bitrate: of the AAC track.
        limits:        checked against the headers and against the decoded samples.
        ffmpeg:        the ffmpeg program; None = search for it.

    Raises:
        EncodeError: ffmpeg failed.
        DiskFull: the disk is full.
        NoAudioFound, MediaUnreadable: the file has no usable audio.
        MediaTooLarge: the file exceeds a limit.
    """
    with replace_atomically(target) as temporary:
        if can_copy_audio(speech, limits):
            run_ffmpeg(_copy_command(find_ffmpeg(ffmpeg), speech, temporary), timeout_s=_TIMEOUT_S)
            return
        with open_sound(speech, limits) as sound:
            command = _encode_command(find_ffmpeg(ffmpeg), sound, temporary, audio_bitrate)
            with FfmpegProcess(command, has_stdin=True) as process:
                _write_sound(process, sound)
                process.finish(_TIMEOUT_S)


def _copy_command(binary: Path, speech: Path, target: Path) -> list[str]:
    import ffmpeg as graph

    file_type = sniff(speech)
    with open_container(speech, file_type, MediaLimits()) as container:
        number = str(require_audio_stream(container).index)
    source: Any = graph.input(
        file_url(speech),
        format=file_type.demuxer,
        format_whitelist=file_type.demuxer,
        protocol_whitelist="file",
    )
    options = {"c:a": "copy", **_CONTAINER_OPTIONS}
    return build_command(binary, graph.output(source[number], file_url(target), **options))


def _encode_command(binary: Path, sound: SoundTrack, target: Path, audio_bitrate: str) -> list[str]:
    import ffmpeg as graph

    source: Any = graph.input("pipe:0", format="f32le", ar=sound.rate_hz, ac=sound.channels)
    options = {
        "c:a": "aac",
        "b:a": audio_bitrate,
        "ar": sound.rate_hz if sound.rate_hz in _AAC_RATES_HZ else _AAC_RATES_HZ[-1],
        **_CONTAINER_OPTIONS,
    }
    return build_command(binary, graph.output(source, file_url(target), **options))


def _write_sound(process: FfmpegProcess, sound: SoundTrack) -> None:
    if process.stdin is None:
        raise EncodeError("ffmpeg was started without an input")
    for block in sound.blocks:
        if not block.size:  # a decoder may give an empty block, which a memoryview cannot cast
            continue
        data = np.ascontiguousarray(block.T, "<f4").data.cast("B")
        try:
            while data:
                data = data[process.stdin.write(data) or 0 :]
        except OSError as error:
            raise process.failure() from error


def _has_simple_timeline(speech: Path) -> bool:
    """Return whether an AAC track has no late start, no gaps and nothing hidden by an edit list."""
    file_type = sniff(speech)
    if file_type.demuxer != "mov":
        return False
    with open_container(speech, file_type, MediaLimits()) as container:
        stream = require_audio_stream(container)
        if stream.codec_context.profile != "LC" or (container.start_time or 0) > _MAX_START_US:
            return False
        expected: int | None = None
        for number, packet in enumerate(container.demux(stream)):
            if packet.pts is None:
                continue
            first = packet.pts if expected is None else 0
            is_hidden = packet.is_discard and number >= _MAX_PRIMING_PACKETS
            if is_hidden or first > 0 or (expected is not None and packet.pts != expected):
                return False
            expected = packet.pts + (packet.duration or 0)
    return expected is not None
