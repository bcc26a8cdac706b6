"""Mux encoded chunks into one mp4 with exact frame timestamps, and add the audio track."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from fractions import Fraction
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import EncodeError
from musetalk_core.formats.atomic_files import replace_atomically, temporary_sibling
from musetalk_core.media.audio.decode import MIN_GAP_S
from musetalk_core.media.output.ffmpeg import build_command, file_url, find_ffmpeg, run_ffmpeg
from musetalk_core.media.output.video_encoder import timescale
from musetalk_core.media.probe import probe, require_audio
from musetalk_core.media.source.container import open_container
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import FileType, sniff

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

_AAC_RATES_HZ = (44_100, 48_000)
_TIMEOUT_S = 3600.0
_MAX_START_US = 1000
_MAX_PRIMING_PACKETS = 3
"""Packets of encoder delay (priming) at the start of an AAC track, which edit lists hide."""


def join_chunks(
    chunks: Sequence[Path],
    speech: Path | None,
    target: Path,
    *,
    rate: Fraction,
    audio_bitrate: str = "192k",
    ffmpeg: Path | None = None,
) -> int:
    """
    Concatenate chunks without encoding them again, and add the audio.

    Args:
        chunks:        mp4 files written by `VideoEncoder`, all with the same size, rate and quality.
        speech:        any file with an audio track; None = a silent video.
        target:        the .mp4 to write; written atomically.
        rate:          frames per second of the chunks.
        audio_bitrate: of the AAC track, if the audio has to be encoded.
        ffmpeg:        the ffmpeg program; None = search for it.

    Returns:
        Number of frames of the video.

    Raises:
        EncodeError: the chunks differ in their encoding, or ffmpeg failed.
        DiskFull: the disk is full.
        NoAudioFound, MediaUnreadable: the speech file has no usable audio.
    """
    if not chunks:
        raise EncodeError("There are no chunks to join: the list is empty.")
    with temporary_sibling(target, ".m4a") as encoded_path, replace_atomically(target) as temporary:
        audio_path = speech
        if speech is not None and not _can_copy_audio(speech):
            encode_audio_track(speech, encoded_path, audio_bitrate=audio_bitrate, ffmpeg=ffmpeg)
            audio_path = encoded_path
        return _mux(chunks, audio_path, temporary, rate)


def _can_copy_audio(speech: Path) -> bool:
    """Return whether the audio can be copied: AAC that players support, on a simple timeline."""
    audio = require_audio(probe(speech))
    is_common_aac = audio.codec == "aac" and audio.sample_rate in _AAC_RATES_HZ and audio.channels <= 2
    return is_common_aac and _has_simple_timeline(speech)


def encode_audio_track(
    speech: Path, target: Path, *, audio_bitrate: str = "192k", ffmpeg: Path | None = None
) -> None:
    """
    Write the audio of any file as an .m4a that `join_chunks` can copy: AAC at 44.1 or 48 kHz, mono or stereo.

    Audio that is already in this form is copied. The caller can run this in parallel with rendering.

    Args:
        speech:        any file with an audio track.
        target:        the .m4a to write.
        audio_bitrate: of the AAC track.
        ffmpeg:        the ffmpeg program; None = search for it.

    Raises:
        EncodeError: ffmpeg failed.
        DiskFull: the disk is full.
        NoAudioFound, MediaUnreadable: the file has no usable audio.
    """
    import ffmpeg as graph

    audio, file_type = require_audio(probe(speech)), sniff(speech)
    source = graph.input(
        file_url(speech),
        format=file_type.demuxer,
        format_whitelist=file_type.demuxer,
        protocol_whitelist="file",
    )
    copy_options = {
        "format": "mp4",
        "c:a": "copy",
        "map_metadata": -1,
        "map_chapters": -1,
        "fflags": "+bitexact",
    }
    encode_options = {
        "format": "mp4",
        "c:a": "aac",
        "b:a": audio_bitrate,
        "ar": audio.sample_rate if audio.sample_rate in _AAC_RATES_HZ else _AAC_RATES_HZ[-1],
        "ac": min(audio.channels, 2),
        "af": _audio_filters(audio.codec),
        "map_metadata": -1,
        "map_chapters": -1,
        "fflags": "+bitexact",
    }
    options = copy_options if _can_copy_audio(speech) else encode_options
    with replace_atomically(target) as temporary:
        arguments = build_command(
            find_ffmpeg(ffmpeg), graph.output(source["a:0"], file_url(temporary), **options)
        )
        run_ffmpeg(arguments, timeout_s=_TIMEOUT_S)


def _audio_filters(codec: str) -> str:
    """Return ffmpeg's audio filters; they match `decode_speech`, so that the audio fits the lips."""
    # Late starts and gaps become silence.
    filters = [f"aresample=async=1:first_pts=0:min_hard_comp={float(MIN_GAP_S)}"]
    if codec.startswith("pcm_f"):
        # Only float PCM can exceed -1..1 or contain NaN, on which the AAC encoder fails.
        filters.insert(0, r"aeval=if(isnan(val(ch))\,0\,clip(val(ch)\,-1\,1)):c=same")
    return ",".join(filters)


def _has_simple_timeline(speech: Path) -> bool:
    """Return whether an AAC track has no late start, no gaps and nothing hidden by an edit list."""
    file_type = sniff(speech)
    if file_type.demuxer != "mov":
        return False
    with open_container(speech, file_type, MediaLimits()) as container:
        stream = container.streams.audio[0]
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


def _mux(chunks: Sequence[Path], audio_path: Path | None, target: Path, rate: Fraction) -> int:
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
        video_packets = _VideoPackets(chunks, output, rate)
        audio_packets = iter(()) if audio_path is None else _add_audio_stream(stack, audio_path, output)
        for _, packet in merge(video_packets, audio_packets, key=itemgetter(0)):
            output.mux(packet)
    return video_packets.frames


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
    source = container.streams.audio[0]
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
