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
from musetalk_core.media.container import MICROSECOND, media_errors, opened, sound_stream
from musetalk_core.media.files import replacing
from musetalk_core.media.limits import Limits
from musetalk_core.media.probe import probe, require_sound
from musetalk_core.media.sniff import Sniffed, sniff
from musetalk_core.types import SPEECH_RATE_HZ, Float

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_BLOCK = 1 << 16
GAP_S = Fraction(1, 10)
"""Seconds of the shortest gap (filled with silence) or overlap (dropped); muxing uses the same value."""
_BYTES = 4


def decode_speech(
    path: Path,
    target: Path,
    limits: Limits = Limits(),  # noqa: B008  frozen
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
    require_sound(probe(path, limits))
    sniffed = sniff(path)
    with replacing(target) as temporary, opened(path, sniffed, limits) as container:
        stream = sound_stream(container)
        if stream is None:
            raise NoAudioFound(f"The {sniffed.name} file has no sound track.")
        with temporary.open("wb") as file, closing(_mono(container, stream, sniffed, limits)) as blocks:
            return _resampled(blocks, stream.sample_rate, rate_hz, file)


def _resampled(blocks: Iterator[Float], rate: int, rate_hz: int, file: BinaryIO) -> int:
    import soxr

    resampler = soxr.ResampleStream(rate, rate_hz, 1, dtype="float32", quality="HQ")
    heard = 0
    for block in _gathered(blocks):
        heard += len(block)
        _put(resampler.resample_chunk(_finite(block)), file)
    _put(resampler.resample_chunk(np.zeros(0, np.float32), last=True), file)
    if heard == 0:
        raise NoAudioFound("The sound track is empty; send one that carries the speech.")
    count = -(-heard * rate_hz // rate)
    # The resampler rounds the length in its own way, but S is exact. truncate() also extends a file with
    # zeros.
    file.truncate(count * _BYTES)
    return count


def _gathered(blocks: Iterator[Float]) -> Iterator[Float]:
    """Merge blocks of about a thousand samples, as decoders give them, into blocks of at least 65,536."""
    waiting: list[Float] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= _BLOCK:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _finite(samples: Float) -> Float:
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1, 1)


def _put(samples: Float, file: BinaryIO) -> None:
    file.write(np.clip(samples, -1, 1).astype("<f4").tobytes())


def _mono(
    container: InputContainer, stream: AudioStream, sniffed: Sniffed, limits: Limits
) -> Generator[Float]:
    """Yield blocks of mono float32 samples at the track's own sample rate, from the start of the file."""
    rate, heard = stream.sample_rate, 0
    origin = (container.start_time or 0) * MICROSECOND
    for frame in _frames(container, stream, sniffed):
        if frame.sample_rate != rate:
            raise MediaUnreadable("The sound track changes its sample rate midway; export it again.")
        shift = _shift(frame, heard, origin)
        if heard + shift + frame.samples > limits.seconds * rate:
            raise MediaTooLarge(f"The sound lasts more than {limits.seconds} seconds; shorten it.")
        yield from _blocks_of_silence(shift)
        samples = mono_samples(frame)[max(0, -shift) :]
        heard += max(0, shift) + len(samples)
        yield samples


def _frames(container: InputContainer, stream: AudioStream, sniffed: Sniffed) -> Iterator[AudioFrame]:
    from av.error import FFmpegError

    good = bad = 0
    with media_errors(sniffed.name):
        for packet in container.demux(stream):
            try:
                frames: list[AudioFrame] = stream.decode(packet)
            except FFmpegError:
                bad += 1
                continue
            good += len(frames)
            yield from frames
    if bad > good:
        raise MediaUnreadable(f"The sound of the {sniffed.name} file is damaged; export or upload it again.")


def _shift(frame: AudioFrame, heard: int, origin: Fraction) -> int:
    """
    Return the samples of silence to insert before a frame; if negative, the samples to drop from it.

    A track that starts late is aligned exactly. Later only gaps of at least `MIN_GAP_S` count, not timestamp
    jitter.
    """
    if frame.pts is None or frame.time_base is None:
        return 0
    shift = round((frame.pts * frame.time_base - origin) * frame.sample_rate) - heard
    if heard == 0:
        return max(0, shift)
    return shift if abs(shift) >= GAP_S * frame.sample_rate else 0


def _blocks_of_silence(samples: int) -> Iterator[Float]:
    for start in range(0, samples, _BLOCK):
        yield np.zeros(min(_BLOCK, samples - start), np.float32)


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
    with replacing(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.tobytes())
