"""Decode the audio track of any media file to mono float32 PCM at one sample rate; write small WAV files."""

from __future__ import annotations

import wave
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable, NoAudioFound
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.media.probe import probe, require_audio
from musetalk_core.media.source.container import (
    MICROSECOND,
    audio_stream,
    open_container,
    translate_media_errors,
)
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import FileType, sniff
from musetalk_core.types import SPEECH_RATE_HZ, Float

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_BLOCK_SAMPLES = 1 << 16
MIN_GAP_S = Fraction(1, 10)
"""Seconds of the shortest gap (filled with silence) or overlap (dropped); muxing uses the same value."""
_BYTES_PER_SAMPLE = 4


def decode_speech(
    path: Path,
    target: Path,
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
    rate_hz: int = SPEECH_RATE_HZ,
) -> int:
    """
    Decode the first audio track of a file. Memory use does not grow with its length.

    Args:
        path:    an audio or video file. Audio that starts after the video is padded with silence.
        target:  the headerless little-endian float32 file to write, mono, -1..1; written atomically.
        limits:  checked against the headers and against the decoded samples.
        rate_hz: sample rate of the file to write.

    Returns:
        The number of samples S: the length of the track, rounded up.

    Raises:
        NoAudioFound: the file has no audio track, or the track has no samples.
        MediaUnreadable: the file is damaged.
        MediaTooLarge: the file exceeds a limit.
        DiskFull: the disk is full.
    """
    require_audio(probe(path, limits))
    file_type = sniff(path)
    with replace_atomically(target) as temporary, open_container(path, file_type, limits) as container:
        stream = audio_stream(container)
        if stream is None:
            raise NoAudioFound(f"The {file_type.name} file has no sound track.")
        with (
            temporary.open("wb") as file,
            closing(_mono_blocks(container, stream, file_type, limits)) as blocks,
        ):
            return _resample_to_file(blocks, stream.sample_rate, rate_hz, file)


def _resample_to_file(blocks: Iterator[Float], source_rate_hz: int, rate_hz: int, file: BinaryIO) -> int:
    import soxr

    resampler = soxr.ResampleStream(source_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")
    sample_count = 0
    for block in _merge_blocks(blocks):
        sample_count += len(block)
        _write_samples(resampler.resample_chunk(_sanitize_samples(block)), file)
    _write_samples(resampler.resample_chunk(np.zeros(0, np.float32), last=True), file)
    if sample_count == 0:
        raise NoAudioFound("The sound track is empty; send one that carries the speech.")
    output_count = -(-sample_count * rate_hz // source_rate_hz)
    # The resampler rounds the length in its own way, but S is exact. truncate() also extends a file with
    # zeros.
    file.truncate(output_count * _BYTES_PER_SAMPLE)
    return output_count


def _merge_blocks(blocks: Iterator[Float]) -> Iterator[Float]:
    """Merge blocks of about a thousand samples, as decoders give them, into blocks of at least 65,536."""
    pending: list[Float] = []
    count = 0
    for block in blocks:
        pending.append(block)
        count += len(block)
        if count >= _BLOCK_SAMPLES:
            yield np.concatenate(pending)
            pending, count = [], 0
    if pending:
        yield np.concatenate(pending)


def _sanitize_samples(samples: Float) -> Float:
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1, 1)


def _write_samples(samples: Float, file: BinaryIO) -> None:
    file.write(np.clip(samples, -1, 1).astype("<f4").tobytes())


def _mono_blocks(
    container: InputContainer, stream: AudioStream, file_type: FileType, limits: MediaLimits
) -> Generator[Float]:
    """Yield blocks of mono float32 samples at the track's own sample rate, from the start of the file."""
    rate, sample_count = stream.sample_rate, 0
    origin = (container.start_time or 0) * MICROSECOND
    for frame in _decode_frames(container, stream, file_type):
        if frame.sample_rate != rate:
            raise MediaUnreadable("The sound track changes its sample rate midway; export it again.")
        shift = _alignment_shift(frame, sample_count, origin)
        if sample_count + shift + frame.samples > limits.seconds * rate:
            raise MediaTooLarge(f"The sound lasts more than {limits.seconds} seconds; shorten it.")
        yield from _silence_blocks(shift)
        samples = mono_samples(frame)[max(0, -shift) :]
        sample_count += max(0, shift) + len(samples)
        yield samples


def _decode_frames(
    container: InputContainer, stream: AudioStream, file_type: FileType
) -> Iterator[AudioFrame]:
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


def _alignment_shift(frame: AudioFrame, sample_count: int, origin: Fraction) -> int:
    """
    Return the samples of silence to insert before a frame; if negative, the samples to drop from it.

    A track that starts late is aligned exactly. Later only gaps of at least `MIN_GAP_S` count, not timestamp
    jitter.
    """
    if frame.pts is None or frame.time_base is None:
        return 0
    shift = round((frame.pts * frame.time_base - origin) * frame.sample_rate) - sample_count
    if sample_count == 0:
        return max(0, shift)
    return shift if abs(shift) >= MIN_GAP_S * frame.sample_rate else 0


def _silence_blocks(samples: int) -> Iterator[Float]:
    for start in range(0, samples, _BLOCK_SAMPLES):
        yield np.zeros(min(_BLOCK_SAMPLES, samples - start), np.float32)


def mono_samples(frame: AudioFrame) -> Float:
    """Return the (S,) float32 mean of a frame's channels; integers are scaled to -1..1, floats unchanged."""
    raw: npt.NDArray[Any] = frame.to_ndarray()
    planar = raw if frame.format.is_planar else raw.reshape(frame.samples, -1).T
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are replaced later
        mean = planar.astype(np.float32).mean(axis=0, dtype=np.float32)
    if raw.dtype.kind == "u":
        mean = (mean - 128) / 128
    elif raw.dtype.kind == "i":
        mean = mean / float(2 ** (8 * raw.dtype.itemsize - 1))
    return mean.astype(np.float32, copy=False)


def write_wav(path: Path, samples: Float, rate: int) -> None:
    """
    Write a 16-bit mono PCM WAV file atomically.

    Args:
        path:    the .wav to write.
        samples: (S,) float in -1..1; values beyond are clipped, NaN becomes silence.
        rate:    sample rate in Hz.

    Raises:
        InputError: `samples` is not one-dimensional or the rate is not positive.
        DiskFull: the disk is full.
    """
    if samples.ndim != 1 or rate <= 0:
        raise InputError(f"samples of shape {samples.shape} at {rate} Hz are not mono audio")
    finite = np.clip(np.nan_to_num(samples, nan=0.0), -1, 1)
    pcm = np.rint(finite * 32767).astype("<i2")
    with replace_atomically(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.tobytes())
