"""Making spoken sentences even: nothing but speech at their ends, and one loudness."""

from typing import Final

import numpy as np

from musetalk_core.types import Float

TARGET_LUFS: Final = -23.0
"""EBU R 128. Louder than that, the peaks of speech would have to be limited."""
_PEAK: Final = 10 ** (-1 / 20)
_MOST_GAIN_DB: Final = 24.0
_SILENCE_LUFS: Final = -70.0

_WINDOW_S: Final = 0.02
_VOICED_DB, _ACTIVE_DB = -30.0, -42.0
"""Below the loud parts of the same sentence."""
_FLAT: Final = 0.25
"""Spectral flatness of noise is .56, of fricatives .3 to .5, of voiced sounds below .1."""
_BAND_HZ: Final = 100.0, 6000.0
_AFTER_VOICE_S: Final = 0.25
"""A last s, t or breath after the last voiced sound."""
_BEFORE_S, _AFTER_S = 0.04, 0.06


def without_ends(samples: Float, rate: int) -> Float:
    """
    Take silence and noise off both ends of a sentence.

    After the last voiced sound a quarter of a second may follow, as long as it is not silent: a voice model
    that does not find its end goes on in noise, which may be loud. Sound without any voiced part is cut by
    its level alone.

    Args:
        samples: (S,) float32.
        rate:    in Hz.

    Returns:
        A part of it; all of it when nothing stands out.
    """
    size = round(_WINDOW_S * rate)
    count = len(samples) // size
    if count == 0:
        return samples
    windows = samples[: count * size].reshape(count, size).astype(np.float64)
    level = 10 * np.log10(np.square(windows).mean(1) + 1e-12)
    loud = float(np.percentile(level, 95))
    active = level > max(loud + _ACTIVE_DB, -75.0)
    if not active.any():
        return samples
    voiced = (level > loud + _VOICED_DB) & (_flatness(windows, rate) < _FLAT)
    last = int(np.flatnonzero(active)[-1])
    if voiced.any():
        last = _end_of_speech(active, int(np.flatnonzero(voiced)[-1]), round(_AFTER_VOICE_S / _WINDOW_S))
    first = int(np.flatnonzero(active)[0])
    start = max(0, first * size - round(_BEFORE_S * rate))
    return samples[start : (last + 1) * size + round(_AFTER_S * rate)]


def _end_of_speech(active: np.ndarray, voiced: int, most: int) -> int:
    """Go on from the last voiced window while it is not silent."""
    end = voiced
    while end + 1 < len(active) and end < voiced + most and active[end + 1]:
        end += 1
    return end


def _flatness(windows: np.ndarray, rate: int) -> np.ndarray:
    """(n,) geometric over arithmetic mean of the power spectrum, in the band of speech."""
    size = windows.shape[1]
    power = np.square(np.abs(np.fft.rfft(windows * np.hanning(size), axis=1))) + 1e-12
    low, high = (round(hz * size / rate) for hz in _BAND_HZ)
    band = power[:, low:high]
    return np.exp(np.log(band).mean(1)) / band.mean(1)


def levelled(samples: Float, rate: int, target: float = TARGET_LUFS) -> Float:
    """
    Bring a sentence to one loudness, without distortion: one gain, its peaks at most at -1 dB.

    Args:
        samples: (S,) float32.
        rate:    in Hz.
        target:  in LUFS.

    Returns:
        (S,) float32; silence stays as it is.
    """
    now = loudness(samples, rate)
    if now <= _SILENCE_LUFS:
        return samples
    gain = 10 ** (min(target - now, _MOST_GAIN_DB) / 20)
    peak = float(np.abs(samples).max())
    return np.asarray(samples * min(gain, _PEAK / peak), np.float32)


def loudness(samples: Float, rate: int) -> float:
    """
    Measure integrated loudness after ITU-R BS.1770-4, for one channel.

    The weighting is applied to the spectrum of each 400 ms block instead of in time, which differs by
    less than 0.1 LU.

    Args:
        samples: (S,) float32.
        rate:    in Hz.

    Returns:
        LUFS; -70 or less for silence.
    """
    size, step = round(0.4 * rate), round(0.1 * rate)
    padded = np.pad(samples, (0, max(0, size - len(samples)))).astype(np.float64)
    weights = _k_weighting(size, rate)
    powers = np.array(
        [_power(padded[at : at + size], weights) for at in range(0, len(padded) - size + 1, step)]
    )
    powers *= size / min(size, max(1, len(samples)))  # padding is not part of a sound shorter than a block
    for floor in (_SILENCE_LUFS, None):
        limit = _lufs(powers.mean()) - 10 if floor is None else floor
        powers = powers[_lufs(powers) > limit]
        if not len(powers):
            return _SILENCE_LUFS
    return float(_lufs(powers.mean()))


def _lufs(power: np.ndarray) -> np.ndarray:
    return -0.691 + 10 * np.log10(power + 1e-15)


def _power(block: np.ndarray, weights: np.ndarray) -> float:
    """Mean square of a block after weighting, by Parseval's theorem."""
    spectrum = np.square(np.abs(np.fft.rfft(block))) * weights
    return float((2 * spectrum.sum() - spectrum[0]) / len(block) ** 2)


def _k_weighting(size: int, rate: int) -> np.ndarray:
    """Squared response of BS.1770's two filters, from their analogue prototypes, at any sample rate."""
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    k, q = _prewarped(1681.974450955533, rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = (high + band * k / q + k * k) + 2 * (k * k - high) * z + (high - band * k / q + k * k) * z**2
    shelf /= (1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2
    k, q = _prewarped(38.13547087602444, rate), 0.5003270373238773
    # the standard leaves the numerator of the high pass at 1 - 2z + z^2 and scales only its denominator
    scale = 1 + k / q + k * k
    cut = (1 - 2 * z + z**2) / (1 + 2 * (k * k - 1) / scale * z + (1 - k / q + k * k) / scale * z**2)
    return np.square(np.abs(shelf * cut))


def _prewarped(hz: float, rate: int) -> float:
    return float(np.tan(np.pi * hz / rate))
