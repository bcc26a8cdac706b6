"""
Decode the sound of a media file: one set of rules for time, channels and sample rates.

The lips, the recognizers and the sound of the finished video are all made from these blocks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import MediaTooLarge, MediaUnreadable, NoAudioFound
from musetalk_core.media.probe import probe, require_audio
from musetalk_core.media.source.container import (
    MICROSECOND,
    open_container,
    require_audio_stream,
    translate_media_errors,
)
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.restarts import MIN_GAP_S, restart_offset
from musetalk_core.media.source.sniff import FileType, sniff
from musetalk_core.types import Float

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_BLOCK_SAMPLES: Final = 1 << 16
_CLOCKLESS_DEMUXERS: Final = frozenset({"aac", "mp3", "ac3", "eac3", "dts"})
"""Formats without times: FFmpeg counts frames, each as long as those of the first sample rate."""
MAX_CHANNELS: Final = 2
"""More channels are mixed to stereo by their layout, as players do."""


@dataclass(frozen=True, slots=True, eq=False)
class SoundTrack:
    """
    The decoded sound of a file.

    Attributes:
        rate_hz:  samples per second.
        channels: C, 1 or 2.
        blocks:   (C, S) float32 in -1..1, S of at least 65,536 except in the last; can be read once. The
            first sample is at the start of the file: silence if the sound starts later than the picture.
    """

    rate_hz: int
    channels: int
    blocks: Iterator[Float]


@contextmanager
def open_sound(path: Path, limits: MediaLimits = MediaLimits()) -> Generator[SoundTrack]:  # noqa: B008  frozen
    """
    Open the first audio track of a file. Memory use does not grow with its length.

    Gaps of at least 0.1 s become silence, and overlaps are dropped. If the clock of the track starts again,
    as in chained Ogg files, the sound continues without a gap. Another sample rate or number of channels
    midway is converted to that of the first frame.

    Raises:
        NoAudioFound: the file has no audio track, or the track has no samples.
        MediaUnreadable: the file is damaged; also raised while the blocks are read.
        MediaTooLarge: the file exceeds a limit; also raised while the blocks are read.
    """
    require_audio(probe(path, limits))
    file_type = sniff(path)
    with open_container(path, file_type, limits) as container:
        stream = require_audio_stream(container)
        with closing(_decode_frames(container, stream, file_type)) as frames:
            first = next(frames, None)
            if first is None:
                raise NoAudioFound("The sound track is empty; send one that carries the speech.")
            decoder = _TrackDecoder(first, container, file_type, limits)
            with closing(_merge_blocks(decoder.blocks(first, frames))) as blocks:
                yield SoundTrack(decoder.rate_hz, decoder.channels, blocks)


def _decode_frames(
    container: InputContainer, stream: AudioStream, file_type: FileType
) -> Generator[AudioFrame]:
    from av.error import FFmpegError

    decoded_frames = failed_packets = 0
    with translate_media_errors(file_type.name):
        for packet in container.demux(stream):
            try:
                frames: list[AudioFrame] = stream.decode(packet)
            except FFmpegError:
                failed_packets += 1
                continue
            decoded_frames += len(frames)
            yield from frames
    if failed_packets > decoded_frames:
        raise MediaUnreadable(
            f"The sound of the {file_type.name} file is damaged; export or upload it again."
        )


class _TrackDecoder:
    """The conversion of one track's frames to blocks on the file's timeline."""

    def __init__(
        self, first: AudioFrame, container: InputContainer, file_type: FileType, limits: MediaLimits
    ) -> None:
        self.rate_hz = first.sample_rate
        self.channels = min(first.layout.nb_channels, MAX_CHANNELS)
        self._origin_s = (container.start_time or 0) * MICROSECOND
        self._demuxer, self._limits = file_type.demuxer, limits
        self._offset_s = Fraction(0)
        self._sample_count = 0
        self._has_other_rates = False
        self._mixer = _Mixer(self.rate_hz, self.channels)

    def blocks(self, first: AudioFrame, rest: Iterator[AudioFrame]) -> Generator[Float]:
        yield from self._place(first)
        for frame in rest:
            yield from self._place(frame)
        yield from self._add(self._mixer.flush(), 0)

    def _place(self, frame: AudioFrame) -> Iterator[Float]:
        """Yield the samples of a frame, after silence if there is a gap before it."""
        self._has_other_rates |= frame.sample_rate != self.rate_hz
        shift = self._alignment_shift(frame)
        samples = self._mixer.convert(frame)
        if self._sample_count + shift + samples.shape[1] > self._limits.seconds * self.rate_hz:
            raise MediaTooLarge(f"The sound lasts more than {self._limits.seconds} seconds; shorten it.")
        for start in range(0, shift, _BLOCK_SAMPLES):
            yield np.zeros((self.channels, min(_BLOCK_SAMPLES, shift - start)), np.float32)
        yield from self._add(samples, shift)

    def _add(self, samples: Float, shift: int) -> Iterator[Float]:
        kept = samples[:, max(0, -shift) :]
        self._sample_count += max(0, shift) + kept.shape[1]
        yield kept

    def _alignment_shift(self, frame: AudioFrame) -> int:
        """
        Return the samples of silence to insert before a frame; if negative, the samples to drop from it.

        A track that starts late is aligned exactly. Later only gaps of at least `MIN_GAP_S` count, not
        timestamp jitter. Times that are counted in frames are wrong once a frame has another sample rate.
        """
        if frame.pts is None or frame.time_base is None:
            return 0
        if self._has_other_rates and self._demuxer in _CLOCKLESS_DEMUXERS:
            return 0
        time_s = frame.pts * frame.time_base - self._origin_s + self._offset_s
        position_s = Fraction(self._sample_count, self.rate_hz)
        if self._sample_count:
            restart_s = restart_offset(time_s, position_s, self._demuxer)
            self._offset_s += restart_s
            time_s += restart_s
        shift = round((time_s - position_s) * self.rate_hz)
        if self._sample_count == 0:
            return max(0, shift)
        return shift if abs(shift) >= MIN_GAP_S * self.rate_hz else 0


class _Mixer:
    """A converter of frames of any format to (C, S) float32 of one rate and one number of channels."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz, self._channels = rate_hz, channels
        self._resampler: AudioResampler | None = None
        self._format: tuple[object, ...] = ()

    def convert(self, frame: AudioFrame) -> Float:
        """Return the samples of a frame; fewer or more than it has if the sample rate changes."""
        form = frame.sample_rate, frame.layout.name, frame.format.name
        is_plain = frame.sample_rate == self._rate_hz and frame.layout.nb_channels == self._channels
        if form == self._format and is_plain:
            return frame_samples(frame)
        pending = self.flush() if form != self._format else np.zeros((self._channels, 0), np.float32)
        self._format = form
        if is_plain:
            return np.concatenate([pending, frame_samples(frame)], 1)
        if self._resampler is None:
            self._resampler = self._open_resampler()
        return np.concatenate([pending, *map(frame_samples, self._resampler.resample(frame))], 1)

    def flush(self) -> Float:
        """Return the samples that are still in the resampler."""
        resampler, self._resampler = self._resampler, None
        empty = np.zeros((self._channels, 0), np.float32)
        if resampler is None:
            return empty
        return np.concatenate([empty, *map(frame_samples, resampler.resample(None))], 1)

    def _open_resampler(self) -> AudioResampler:
        from av.audio.resampler import AudioResampler

        return AudioResampler("fltp", "mono" if self._channels == 1 else "stereo", self._rate_hz)


def frame_samples(frame: AudioFrame) -> Float:
    """Return the (C, S) float32 samples of a frame; integers are scaled to -1..1, floats unchanged."""
    raw: npt.NDArray[Any] = frame.to_ndarray()
    planar = raw if frame.format.is_planar else raw.reshape(frame.samples, -1).T
    if raw.dtype.kind == "f":
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are replaced later
            return planar.astype(np.float32)
    if raw.dtype.kind == "u":
        return ((planar.astype(np.float32) - 128) / 128).astype(np.float32)
    return (planar / 2 ** (8 * raw.dtype.itemsize - 1)).astype(np.float32)


def _sanitize_samples(samples: Float) -> Float:
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1, 1)


def _merge_blocks(blocks: Iterator[Float]) -> Generator[Float]:
    """
    Merge blocks of about a thousand samples, as decoders give them, into blocks of at least 65,536.

    Samples are limited to -1..1 there: calls for each small block took a third of the time of decoding.
    """
    pending: list[Float] = []
    count = 0
    for block in blocks:
        pending.append(block)
        count += block.shape[1]
        if count >= _BLOCK_SAMPLES:
            yield _sanitize_samples(np.concatenate(pending, 1))
            pending, count = [], 0
    if pending:
        yield _sanitize_samples(np.concatenate(pending, 1))
