"""Decode the sound of any media file to mono float32 PCM at one sample rate; write small WAV files."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import numpy as np

from musetalk_core.errors import InputError, NoAudioFound
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.media.audio.downmix import mix_to_mono
from musetalk_core.media.audio.levels import LevelMeter
from musetalk_core.media.audio.track import open_sound
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.types import SPEECH_RATE_HZ, Float

_BYTES_PER_SAMPLE = 4


def decode_speech(
    path: Path,
    target: Path,
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
    rate_hz: int = SPEECH_RATE_HZ,
    meter: LevelMeter | None = None,
) -> int:
    """
    Decode the first audio track of a file. Memory use does not grow with its length.

    Args:
        path:    an audio or video file; `open_sound` has the rules for its time and channels.
        target:  the headerless little-endian float32 file to write, mono, -1..1; written atomically.
        limits:  checked against the headers and against the decoded samples.
        rate_hz: sample rate of the file to write.
        meter:   measures the decoded sound.

    Returns:
        The number of samples S: the length of the track, rounded up.

    Raises:
        NoAudioFound: the file has no audio track, or the track has no samples.
        MediaUnreadable: the file is damaged.
        MediaTooLarge: the file exceeds a limit.
        DiskFull: the disk is full.
    """
    with (
        open_sound(path, limits) as sound,
        replace_atomically(target) as temporary,
        temporary.open("wb") as file,
        closing(mix_to_mono(_measured(sound.blocks, meter), sound.rate_hz)) as blocks,
    ):
        return _resample_to_file(blocks, sound.rate_hz, rate_hz, file)


def _measured(blocks: Iterator[Float], meter: LevelMeter | None) -> Iterator[Float]:
    for block in blocks:
        if meter is not None:
            meter.add(block)
        yield block


def _resample_to_file(blocks: Iterator[Float], source_rate_hz: int, rate_hz: int, file: BinaryIO) -> int:
    import soxr

    resampler = soxr.ResampleStream(source_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")
    sample_count = 0
    for block in blocks:
        sample_count += len(block)
        _write_samples(resampler.resample_chunk(block), file)
    _write_samples(resampler.resample_chunk(np.zeros(0, np.float32), last=True), file)
    if sample_count == 0:
        raise NoAudioFound("The sound track is empty; send one that carries the speech.")
    output_count = -(-sample_count * rate_hz // source_rate_hz)
    # The resampler rounds the length in its own way, but S is exact. truncate() also extends a file with
    # zeros.
    file.truncate(output_count * _BYTES_PER_SAMPLE)
    return output_count


def _write_samples(samples: Float, file: BinaryIO) -> None:
    file.write(np.clip(samples, -1, 1).astype("<f4").tobytes())


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
