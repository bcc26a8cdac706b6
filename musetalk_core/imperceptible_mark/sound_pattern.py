"""
Pattern of the mark in sound: in time slots of 20 ms, each of 20 bands is 0.8 dB louder or softer.

A change in proportion to what sounds at that time in that band is masked by it, and silence stays silent. The
pattern repeats every 2.4 s, so that the detector can synchronize to any piece of the sound.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.types import Float

BANDS: Final = 20
SLOTS: Final = 120
"""Time slots of one period."""
HOPS_PER_SLOT: Final = 2
HOPS_PER_S: Final = 100
_LOWEST_HZ, _HIGHEST_HZ = 250.0, 6500.0
"""Inside the passband of a 64 kbit/s MP3 file and of 16 kHz speech."""


@lru_cache(maxsize=4)
def signs(key: MarkKey) -> Float:
    """Return the pattern, (SLOTS, BANDS) float32 of -1 and 1."""
    bits = np.unpackbits(np.frombuffer(key.pattern_bytes("sound", SLOTS * BANDS // 8), np.uint8))
    return (2 * bits.reshape(SLOTS, BANDS).astype(np.float32) - 1).astype(np.float32)


def band_of_bins(window: int, rate_hz: int) -> npt.NDArray[np.int64]:
    """
    Return the band of each bin of a spectrum; -1 for bins outside all bands.

    Args:
        window:  samples of the analysis window.
        rate_hz: sample rate.
    """
    edges_bark = np.linspace(_bark(_LOWEST_HZ), _bark(_HIGHEST_HZ), BANDS + 1)
    bands = np.digitize(_bark(np.fft.rfftfreq(window, 1 / rate_hz)), edges_bark) - 1
    return np.where(bands < BANDS, bands, -1)


def _bark(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the critical band rate in Bark (Zwicker and Terhardt 1980)."""
    values = np.asarray(hz, np.float64)
    return 13 * np.arctan(0.00076 * values) + 3.5 * np.arctan((values / 7500) ** 2)
