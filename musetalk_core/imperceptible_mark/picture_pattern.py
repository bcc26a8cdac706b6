"""
Pattern of the mark in the picture: periodic noise on a grid on which the short side has 360 units.

The noise has random phases and equal amplitudes at wavelengths of 4.5 to 14 units: coarse enough to survive
scaling to 360 lines, fine enough to be masked by the picture. It does not depend on the time, so it does not
flicker, and cuts, trims and other frame rates keep it. It repeats every 256 units, so a crop shifts it.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.types import Float

TILE: Final = 256
"""Period of the pattern in both directions, in grid units."""
SHORT_SIDE: Final = 360
_MAX_ASPECT: Final = 4
"""The grid of a longer picture is coarser, which bounds memory."""
_WAVELENGTHS: Final = (4.5, 14.0)
PATTERN_LIMIT: Final = 2.5
"""Greatest absolute value of the pattern; its standard deviation is 1 before this limit."""

Complex = npt.NDArray[np.complex64]
Bools = npt.NDArray[np.bool_]


def grid_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height in grid units of a picture of this size in pixels."""
    scale = min(SHORT_SIDE / min(width, height), SHORT_SIDE * _MAX_ASPECT / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


@lru_cache(maxsize=1)
def band() -> Bools:
    """Return the (TILE, TILE / 2 + 1) mask of the frequencies of the pattern, in the layout of `rfft2`."""
    radius = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    shortest, longest = _WAVELENGTHS
    mask = (radius >= 1 / longest) & (radius <= 1 / shortest)
    mask[:, 0] = False  # the conjugates of these frequencies are in the same column: not independent
    return mask


@lru_cache(maxsize=8)
def spectrum(key: MarkKey) -> Complex:
    """Return the (TILE, TILE / 2 + 1) spectrum of the pattern: absolute value 1 in the band, else 0."""
    mask = band()
    angles = np.frombuffer(key.pattern_bytes("picture", 2 * int(mask.sum())), "<u2") * (2 * np.pi / 65536)
    out = np.zeros(mask.shape, np.complex64)
    out[mask] = np.exp(1j * angles)
    return out


@lru_cache(maxsize=4)
def tile(key: MarkKey) -> Float:
    """Return one period of the pattern, (TILE, TILE) float32 within ±`PATTERN_LIMIT`."""
    values = np.fft.irfft2(spectrum(key), (TILE, TILE))
    return np.clip(values / values.std(), -PATTERN_LIMIT, PATTERN_LIMIT).astype(np.float32)
