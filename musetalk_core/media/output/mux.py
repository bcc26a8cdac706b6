"""Mux encoded chunks into one mp4 with exact frame timestamps, and add the audio track."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from fractions import Fraction
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import EncodeError, LengthMismatch
from musetalk_core.formats.atomic_files import replace_atomically, temporary_sibling
from musetalk_core.media.output.audio_track import can_copy_audio, encode_audio_track
from musetalk_core.media.output.tags import MediaTags
from musetalk_core.media.output.video_encoder import timescale
from musetalk_core.media.source.container import open_container, require_audio_stream
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import FileType, sniff

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

_MAX_LENGTH_DIFFERENCE_S = Fraction(1, 10)
"""Seconds by which picture and sound may differ besides one frame: an AAC packet and encoder delay."""


def join_chunks(
    chunks: Sequence[Path],
    speech: Path | None,
    target: Path,
    *,
    rate: Fraction,
    audio_bitrate: str = "192k",
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
    ffmpeg: Path | None = None,
    tags: MediaTags | None = None,
) -> int:
    """
    Concatenate chunks without encoding them again, and add the audio.

    Args:
        chunks:        mp4 files written by `VideoEncoder`, all with the same size, rate and quality.
        speech:        any file with an audio track; None = a silent video.
        target:        the .mp4 to write; written atomically.
        rate:          frames per second of the chunks.
        audio_bitrate: of the AAC track, if the audio has to be encoded.
        limits:        limits on the audio.
        ffmpeg:        the ffmpeg program; None = search for it.
        tags:          title and comment of the video; None = none.

    Returns:
        Number of frames of the video.

    Raises:
        EncodeError: the chunks differ in their encoding, or ffmpeg failed.
        LengthMismatch: picture and sound are not equally long.
        DiskFull: the disk is full.
        NoAudioFound, MediaUnreadable: the speech file has no usable audio.
    """
    if not chunks:
        raise EncodeError("There are no chunks to join: the list is empty.")
    with temporary_sibling(target, ".m4a") as encoded_path, replace_atomically(target) as temporary:
        audio_path = speech
        if speech is not None and not can_copy_audio(speech, limits):
            encode_audio_track(
                speech, encoded_path, audio_bitrate=audio_bitrate, limits=limits, ffmpeg=ffmpeg
            )
            audio_path = encoded_path
        return _mux(chunks, audio_path, temporary, rate, tags)


def _mux(
    chunks: Sequence[Path], audio_path: Path | None, target: Path, rate: Fraction, tags: MediaTags | None
) -> int:
    import av

    scale = str(timescale(rate))
    options = {
        "movflags": "+faststart",
        "video_track_timescale": scale,
        "movie_timescale": scale,
        "fflags": "+bitexact",
    }
    with ExitStack() as stack:
        output = stack.enter_context(av.open(str(target), "w", format="mp4", container_options=options))
        if tags is not None:
            output.metadata.update(tags.to_metadata())
        video_packets = _VideoPackets(chunks, output, rate)
        audio_packets = iter(()) if audio_path is None else _add_audio_stream(stack, audio_path, output)
        for _, packet in merge(video_packets, audio_packets, key=itemgetter(0)):
            output.mux(packet)
    if audio_path is not None:
        _check_lengths(target, rate)
    return video_packets.frames


def _check_lengths(video: Path, rate: Fraction) -> None:
    """
    Compare the lengths of picture and sound in a finished file.

    Raises:
        LengthMismatch: they differ by more than a frame and `_MAX_LENGTH_DIFFERENCE_S`.
    """
    with _open_chunk(video) as container:
        picture_s, sound_s = (
            (stream.duration or 0) * (stream.time_base or 0)
            for stream in (container.streams.video[0], container.streams.audio[0])
        )
    if abs(picture_s - sound_s) > 1 / rate + _MAX_LENGTH_DIFFERENCE_S:
        raise LengthMismatch(
            f"The picture lasts {float(picture_s):.2f} s and the sound {float(sound_s):.2f} s. Export the"
            " recording again as WAV, and report the file.",
            picture_s=float(picture_s),
            sound_s=float(sound_s),
        )


class _VideoPackets:
    """
    Video packets of all chunks with timestamps in frames, each with its decoding time in seconds.

    Attributes:
        frames: number of frames so far.
    """

    def __init__(self, chunks: Sequence[Path], output: OutputContainer, rate: Fraction) -> None:
        self.frames = 0
        self._chunks, self._rate = chunks, rate
        with _open_chunk(chunks[0]) as first:
            self._header = _decoder_header(first)
            self._stream = output.add_stream_from_template(first.streams.video[0])
            self._stream.metadata.clear()

    def __iter__(self) -> Iterator[tuple[float, Packet[Any]]]:
        for chunk in self._chunks:
            with _open_chunk(chunk) as container:
                if _decoder_header(container) != self._header:
                    raise EncodeError("The chunks cannot be joined: they were not all encoded alike.")
                yield from self._packets(container)

    def _packets(self, container: InputContainer) -> Iterator[tuple[float, Packet[Any]]]:
        start, count = self.frames, 0
        for packet in container.demux(container.streams.video[0]):
            if packet.pts is None or packet.dts is None:
                continue  # the empty packet at the end
            packet.pts = start + self._frame_number(packet.pts, packet.time_base)
            packet.dts = start + self._frame_number(packet.dts, packet.time_base)
            packet.duration, packet.time_base, packet.stream = 1, 1 / self._rate, self._stream
            count += 1
            yield float(packet.dts / self._rate), packet
        self.frames = start + count

    def _frame_number(self, time: int, time_base: Fraction) -> int:
        number = time * time_base * self._rate
        if number.denominator != 1:
            raise EncodeError(f"A chunk has a frame off the grid of {self._rate} frames per second.")
        return number.numerator


def _open_chunk(path: Path) -> AbstractContextManager[InputContainer]:
    return open_container(path, FileType(False, "mp4", "mov"), MediaLimits())


def _decoder_header(container: InputContainer) -> tuple[Any, ...]:
    """Return what must be equal in all chunks: codec, size and the decoder's parameter sets."""
    if not container.streams.video:
        raise EncodeError("A chunk without a picture cannot be joined.")
    context = container.streams.video[0].codec_context
    return context.name, context.width, context.height, context.extradata


def _add_audio_stream(
    stack: ExitStack, path: Path, output: OutputContainer
) -> Iterator[tuple[float, Packet[Any]]]:
    container = stack.enter_context(open_container(path, sniff(path), MediaLimits()))
    source = require_audio_stream(container)
    stream = output.add_stream_from_template(source)
    stream.metadata.clear()
    return stack.enter_context(closing(_audio_packets(container, source, stream)))


def _audio_packets(
    container: InputContainer, source: AudioStream, stream: AudioStream
) -> Generator[tuple[float, Packet[Any]]]:
    for packet in container.demux(source):
        if packet.dts is None:
            continue  # the empty packet at the end
        packet.stream = stream
        yield float(packet.dts * packet.time_base), packet
