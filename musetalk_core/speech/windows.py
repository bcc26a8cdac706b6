"""Segmentation of long speech into segments of bounded length, cut where it is quietest; RMS levels."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from musetalk_core.speech.samples import Samples
from musetalk_core.types import SPEECH_RATE_HZ, Float

LONGEST_S: Final = 30.0
"""Default length of the longest segment in seconds."""
_EARLIEST: Final = 0.5
"""Earliest cut as a share of the longest segment: cuts lie in its second half."""
_STEP_S: Final = 0.01
_PAUSE_S: Final = 0.2
"""A cut is placed in the middle of the quietest stretch of this length."""
_SILENT_RMS: Final = 0.002
"""-54 dBFS: quieter steps count as silence."""


def windows(samples: Samples, longest_s: float = LONGEST_S) -> Iterator[tuple[int, int]]:
    """
    Split speech into segments at its quietest points.

    Args:
        samples:       16 kHz mono speech; read one segment at a time.
        max_segment_s: length of the longest segment in seconds.

    Yields:
        First sample and last sample + 1 of every segment; segments are contiguous.
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
    """Return the (n,) float32 RMS of every whole step of (S,) samples."""
    step = int(step_s * SPEECH_RATE_HZ)
    parts = samples[: len(samples) // step * step].reshape(-1, step)
    return np.sqrt(np.einsum("ij,ij->i", parts, parts) / step).astype(np.float32)


def loud_seconds(samples: Float) -> float:
    """Return how many seconds of (S,) samples are louder than silence."""
    return float((levels(samples) > _SILENT_RMS).sum() * _STEP_S)


def _quietest(samples: Float) -> int:
    """Return the index of the sample in the middle of the 0.2 s with the least energy; at least 1."""
    power = levels(samples) ** 2
    width = min(round(_PAUSE_S / _STEP_S), len(power))
    total = np.convolve(power, np.ones(width, np.float32), "valid")
    middle = int(total.argmin()) + width / 2
    return max(1, int(middle * _STEP_S * SPEECH_RATE_HZ))
