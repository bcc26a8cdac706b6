"""Put a spoken notice before a recording: one WAV file at the sample rate and channels of the recording."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.media.audio.track import open_sound
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.types import Float

PAUSE_S: Final = 0.4
"""Silence between the notice and the recording."""
_BYTES_PER_SAMPLE: Final = 2
_FULL_SCALE: Final = 32_767


def prepend_speech(
    notice: Path,
    recording: Path,
    target: Path,
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
) -> float:
    """
    Write the notice, a pause and the sound of a recording. Memory use does not grow with the recording.

    Args:
        notice:    a mono 16-bit WAV file.
        recording: an audio or video file; `open_sound` has the rules for its time and channels.
        target:    the 16-bit WAV file to write; written atomically.
        limits:    checked against the headers and the decoded samples of the recording.

    Returns:
        The time in the target at which the recording starts, in seconds.

    Raises:
        NoAudioFound: the recording has no audio track, or the track has no samples.
        MediaUnreadable: the recording is damaged.
        MediaTooLarge: the recording exceeds a limit.
        DiskFull: the disk is full.
    """
    with open_sound(recording, limits) as sound, replace_atomically(target) as temporary:
        opening = _read_notice(notice, sound.rate_hz)
        pause = np.zeros(round(PAUSE_S * sound.rate_hz), np.float32)
        opening = np.concatenate([opening, pause])
        with wave.open(str(temporary), "wb") as out:
            out.setparams((sound.channels, _BYTES_PER_SAMPLE, sound.rate_hz, 0, "NONE", "not compressed"))
            out.writeframes(_to_pcm16(np.tile(opening, (sound.channels, 1))))
            for block in sound.blocks:
                out.writeframes(_to_pcm16(block))
        return len(opening) / sound.rate_hz


def _read_notice(path: Path, rate_hz: int) -> Float:
    """Return the samples of the notice at another sample rate."""
    import soxr

    with wave.open(str(path), "rb") as source:
        samples = (
            np.frombuffer(source.readframes(source.getnframes()), "<i2").astype(np.float32) / _FULL_SCALE
        )
        return np.asarray(soxr.resample(samples, source.getframerate(), rate_hz), np.float32)


def _to_pcm16(block: Float) -> bytes:
    """Return (C, S) float32 in -1..1 as interleaved 16-bit samples."""
    return np.rint(np.clip(block.T, -1, 1) * _FULL_SCALE).astype("<i2").tobytes()
