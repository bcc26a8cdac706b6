"""
Fingerprint of sound: 32 bits for each 46 ms, signs of energy differences between bands and moments.

The bits are those of Haitsma and Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002), at a
lower rate: 33 bands from 300 to 2000 Hz, windows of 0.37 s, a step of an eighth of a window.
"""

from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.fingerprints.picture import MAX_SECONDS
from musetalk_core.media.audio.downmix import mix_to_mono
from musetalk_core.media.audio.track import open_sound
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.types import Float

Words = npt.NDArray[np.uint32]
RATE_HZ: Final = 5512
STEP: Final = 256
"""Samples between two words: 46 ms."""
_WINDOW: Final = 2048
_BANDS: Final = 33
_LOW_HZ, _HIGH_HZ = 300.0, 2000.0
_SILENCE: Final = 1e-7
"""Mean energy per sample below which a window is silent."""
_BLOCK_WINDOWS: Final = 1024


def sound_words(path: Path, limits: MediaLimits) -> Words:
    """
    Return the words of the first sound track.

    Args:
        path:   an audio or video file.
        limits: checked against the headers and the decoded samples.

    Returns:
        (T,) uint32: one word per 46 ms, at most `MAX_SECONDS`; 0 for silence.

    Raises:
        NoAudioFound:    the file has no sound.
        MediaUnreadable: the file is damaged.
        MediaTooLarge:   the file exceeds a limit.
    """
    samples = _read_samples(path, limits)
    count = (len(samples) - _WINDOW) // STEP + 1
    if count < 2:
        return np.zeros(0, np.uint32)
    energies = np.concatenate(
        [
            _band_energies(samples, start, min(start + _BLOCK_WINDOWS, count))
            for start in range(0, count, _BLOCK_WINDOWS)
        ]
    )
    between_bands = energies[:, :-1] - energies[:, 1:]
    bits = between_bands[1:] - between_bands[:-1] > 0
    words = np.packbits(bits, axis=1).view(">u4").ravel().astype(np.uint32)
    is_silent = energies[1:].sum(axis=1) < _SILENCE * _WINDOW**2
    return np.where(is_silent, np.uint32(0), np.where(words == 0, np.uint32(1), words))


def _read_samples(path: Path, limits: MediaLimits) -> Float:
    """Return (S,) float32 mono at `RATE_HZ`, at most `MAX_SECONDS`."""
    import soxr

    parts: list[Float] = []
    with open_sound(path, limits) as sound, closing(mix_to_mono(sound.blocks, sound.rate_hz)) as blocks:
        resampler = soxr.ResampleStream(sound.rate_hz, RATE_HZ, 1, dtype="float32", quality="MQ")
        left = MAX_SECONDS * RATE_HZ
        for block in blocks:
            parts.append(resampler.resample_chunk(block)[:left])
            left -= len(parts[-1])
            if left <= 0:
                break
        else:
            parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True)[:left])
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _band_energies(samples: Float, start: int, stop: int) -> npt.NDArray[np.float32]:
    """Return (stop - start, 33) float32 energies of the bands in windows `start` to `stop`."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[start * STEP : stop * STEP : STEP]
    power = np.abs(np.fft.rfft(windows[: stop - start] * np.hanning(_WINDOW))) ** 2
    edges_hz = np.geomspace(_LOW_HZ, _HIGH_HZ, _BANDS + 1)
    edges = np.round(edges_hz * _WINDOW / RATE_HZ).astype(int)
    return np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1).astype(np.float32)
