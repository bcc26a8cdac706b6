"""Post-processing of synthesized sentences: trim silence, measure and normalize loudness (EBU R 128)."""

from typing import Final

import numpy as np

from musetalk_core.types import Float

TARGET_LUFS: Final = -23.0
"""Target of EBU R 128. A higher target would require a limiter for the peaks of speech."""
_MAX_PEAK: Final = 10 ** (-1 / 20)
"""Largest absolute sample after normalization: -1 dBFS."""
_MAX_GAIN_DB: Final = 24.0
_SILENCE_LUFS: Final = -70.0

_WINDOW_S: Final = 0.02
_VOICED_DB, _ACTIVE_DB = -30.0, -42.0
"""Least level of voiced and of active windows, in dB relative to the loud parts of the same sentence."""
_MAX_VOICED_FLATNESS: Final = 0.25
"""
Voiced windows have a spectral flatness below this.

Noise has 0.56, fricatives 0.3 to 0.5, voiced sounds below 0.1.
"""
_SPEECH_BAND_HZ: Final = 100.0, 6000.0
_MAX_TAIL_S: Final = 0.25
"""Longest sound kept after the last voiced window: a final s, t or breath."""
_MARGIN_BEFORE_S, _MARGIN_AFTER_S = 0.04, 0.06


def trim_silence(samples: Float, rate: int) -> Float:
    """
    Trim silence and noise at both ends of a sentence.

    At most 0.25 s are kept after the last voiced sound, as long as they are not silent: a voice model that
    does not emit its end token continues with noise, which may be loud. Sound without any voiced window is
    trimmed by its level alone.

    Args:
        samples: (S,) float32, mono.
        rate:    sample rate in Hz.

    Returns:
        A slice of the samples; all of them if no window is active.
    """
    size = round(_WINDOW_S * rate)
    count = len(samples) // size
    if count == 0:
        return samples
    windows = samples[: count * size].reshape(count, size).astype(np.float64)  # (count, 20 ms)
    levels = 10 * np.log10(np.square(windows).mean(1) + 1e-12)
    loud = float(np.percentile(levels, 95))
    is_active = levels > max(loud + _ACTIVE_DB, -75.0)
    if not is_active.any():
        return samples
    is_voiced = (levels > loud + _VOICED_DB) & (_spectral_flatness(windows, rate) < _MAX_VOICED_FLATNESS)
    last = int(np.flatnonzero(is_active)[-1])
    if is_voiced.any():
        last = _last_speech_window(
            is_active, int(np.flatnonzero(is_voiced)[-1]), round(_MAX_TAIL_S / _WINDOW_S)
        )
    first = int(np.flatnonzero(is_active)[0])
    start = max(0, first * size - round(_MARGIN_BEFORE_S * rate))
    return samples[start : (last + 1) * size + round(_MARGIN_AFTER_S * rate)]


def _last_speech_window(is_active: np.ndarray, last_voiced: int, max_windows: int) -> int:
    """Return the last window of speech: active windows that follow the last voiced one, up to a limit."""
    end = last_voiced
    while end + 1 < len(is_active) and end < last_voiced + max_windows and is_active[end + 1]:
        end += 1
    return end


def _spectral_flatness(windows: np.ndarray, rate: int) -> np.ndarray:
    """Return (n,) spectral flatness, geometric over arithmetic mean of the power spectrum, 100 to 6000 Hz."""
    size = windows.shape[1]
    power = np.square(np.abs(np.fft.rfft(windows * np.hanning(size), axis=1))) + 1e-12
    low, high = (round(hz * size / rate) for hz in _SPEECH_BAND_HZ)
    band_power = power[:, low:high]
    return np.exp(np.log(band_power).mean(1)) / band_power.mean(1)


def normalize_loudness(samples: Float, rate: int, target_lufs: float = TARGET_LUFS) -> Float:
    """
    Normalize the loudness of a sentence with one gain, without distortion.

    The gain is at most 24 dB, and less if peaks would exceed -1 dBFS.

    Args:
        samples:     (S,) float32, mono.
        rate:        sample rate in Hz.
        target_lufs: target loudness in LUFS.

    Returns:
        (S,) float32; silence is unchanged.
    """
    current_lufs = measure_loudness(samples, rate)
    if current_lufs <= _SILENCE_LUFS:
        return samples
    gain = 10 ** (min(target_lufs - current_lufs, _MAX_GAIN_DB) / 20)
    peak = float(np.abs(samples).max())
    return np.asarray(samples * min(gain, _MAX_PEAK / peak), np.float32)


def measure_loudness(samples: Float, rate: int) -> float:
    """
    Measure integrated loudness by ITU-R BS.1770-4, for one channel.

    The K-weighting is applied to the spectrum of each 400 ms block instead of in the time domain; the result
    differs by less than 0.1 LU.

    Args:
        samples: (S,) float32, mono.
        rate:    sample rate in Hz.

    Returns:
        Loudness in LUFS; -70 or less for silence.
    """
    size, step = round(0.4 * rate), round(0.1 * rate)
    padded = np.pad(samples, (0, max(0, size - len(samples)))).astype(np.float64)
    weights = _k_weighting(size, rate)
    powers = np.array(
        [_weighted_power(padded[at : at + size], weights) for at in range(0, len(padded) - size + 1, step)]
    )
    powers *= size / min(size, max(1, len(samples)))  # leave out the padding of a sound shorter than a block
    # gating of BS.1770: absolute at -70 LUFS, then 10 LU below the mean of what remains
    for floor in (_SILENCE_LUFS, None):
        limit = _lufs(powers.mean()) - 10 if floor is None else floor
        powers = powers[_lufs(powers) > limit]
        if not len(powers):
            return _SILENCE_LUFS
    return float(_lufs(powers.mean()))


def _lufs(power: np.ndarray) -> np.ndarray:
    return -0.691 + 10 * np.log10(power + 1e-15)


def _weighted_power(block: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean square of a block after weighting, by Parseval's theorem."""
    spectrum = np.square(np.abs(np.fft.rfft(block))) * weights
    return float((2 * spectrum.sum() - spectrum[0]) / len(block) ** 2)


def _k_weighting(size: int, rate: int) -> np.ndarray:
    """
    Return (size // 2 + 1,) squared response of the two filters of BS.1770 at any sample rate.

    They are derived from the analog prototypes: a high shelf at 1682 Hz (+4 dB) and a high pass at 38 Hz.
    """
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    k, q = _prewarp(1681.974450955533, rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = (high + band * k / q + k * k) + 2 * (k * k - high) * z + (high - band * k / q + k * k) * z**2
    shelf /= (1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2
    k, q = _prewarp(38.13547087602444, rate), 0.5003270373238773
    # the standard keeps the high pass's numerator at 1 - 2z + z^2 and scales only the denominator
    scale = 1 + k / q + k * k
    cut = (1 - 2 * z + z**2) / (1 + 2 * (k * k - 1) / scale * z + (1 - k / q + k * k) / scale * z**2)
    return np.square(np.abs(shelf * cut))


def _prewarp(hz: float, rate: int) -> float:
    return float(np.tan(np.pi * hz / rate))
