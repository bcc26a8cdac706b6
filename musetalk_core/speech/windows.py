"""Long speech in pieces of bounded length, cut where it is quietest."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from musetalk_core.speech.samples import Samples
from musetalk_core.types import SPEECH_RATE_HZ, Float

LONGEST_S: Final = 30.0
_EARLIEST: Final = 0.5
"""A cut lies in the second half of a piece."""
_STEP_S: Final = 0.01
_PAUSE_S: Final = 0.2
_SILENT_RMS: Final = 0.002
"""-54 dBFS: quieter pieces are silence without asking."""


def windows(samples: Samples, longest_s: float = LONGEST_S) -> Iterator[tuple[int, int]]:
    """
    Cut speech into pieces.

    Args:
        samples:   the speech; read piece by piece.
        longest_s: no piece is longer.

    Yields:
        First and last + 1 sample of every piece; they join without gaps.
    """
    longest, start = int(longest_s * SPEECH_RATE_HZ), 0
    while samples.count - start > longest:
        first = start + int(longest * _EARLIEST)
        cut = first + _quietest(samples.read(first, start + longest))
        yield start, cut
        start = cut
    if start < samples.count:
        yield start, samples.count


def levels(samples: Float, step_s: float = _STEP_S) -> Float:
    """Give the (n,) root mean square of every whole step of (S,) samples."""
    step = int(step_s * SPEECH_RATE_HZ)
    parts = samples[: len(samples) // step * step].reshape(-1, step)
    return np.sqrt(np.einsum("ij,ij->i", parts, parts) / step).astype(np.float32)


def loud_seconds(samples: Float) -> float:
    """Give how much of (S,) samples is louder than silence."""
    return float((levels(samples) > _SILENT_RMS).sum() * _STEP_S)


def _quietest(samples: Float) -> int:
    """Sample in the middle of the 0.2 s with the least energy."""
    power = levels(samples) ** 2
    width = min(round(_PAUSE_S / _STEP_S), len(power))
    total = np.convolve(power, np.ones(width, np.float32), "valid")
    middle = int(total.argmin()) + width / 2
    return max(1, int(middle * _STEP_S * SPEECH_RATE_HZ))
