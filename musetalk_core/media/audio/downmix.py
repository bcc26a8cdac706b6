"""Mix stereo speech to mono without losing a voice that is in opposite phase in the two channels."""

from collections.abc import Generator, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.types import Float

_WINDOW_S: Final = 0.25
_FADE_S: Final = 0.01
_MEMORY: Final = 0.8
"""Share of the energies so far that counts in the next window, so that loud voiced sounds decide."""
_CANCELLING_CORRELATION: Final = -0.2
"""
Below this correlation the mean of both channels loses the voice, so the louder channel is used alone.

1 = equal channels, 0 = independent ones or a voice in one channel only, -1 = opposite phase.
"""
_CLEARLY_LOUDER: Final = 1.5
"""Energy of the second channel over the first one from which it is used; equal channels never alternate."""
_MEAN: Final = (0.5, 0.5)


def mix_to_mono(blocks: Iterator[Float], rate_hz: int) -> Generator[Float]:
    """
    Yield (S,) float32 mono blocks: the mean of the channels, or the louder channel where they cancel out.

    The choice is made every 0.25 s from about the last second, with a fade of 10 ms.

    Args:
        blocks:  (C, S) float32, C of 1 or 2.
        rate_hz: samples per second.
    """
    weights, products = np.array(_MEAN), np.zeros((2, 2))
    size, fade = round(_WINDOW_S * rate_hz), max(1, round(_FADE_S * rate_hz))
    for block in blocks:
        if len(block) == 1:
            yield block[0]
            continue
        mixed = np.empty(block.shape[1], np.float32)
        for start in range(0, block.shape[1], size):
            window = block[:, start : start + size]
            products = _MEMORY * products + window.astype(np.float64) @ window.T
            before, weights = weights, _channel_weights(products)
            steps = np.minimum(np.arange(1, window.shape[1] + 1) / fade, 1)
            gains = before[:, None] + (weights - before)[:, None] * steps
            mixed[start : start + size] = (window * gains).sum(0)
        yield mixed


def _channel_weights(products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the weights of two channels, from the (2, 2) products of their samples."""
    energy = products.diagonal()
    if 2 * products[0, 1] >= _CANCELLING_CORRELATION * energy.sum():
        return np.array(_MEAN)
    return np.array([0.0, 1.0] if energy[1] > _CLEARLY_LOUDER * energy[0] else [1.0, 0.0])
