"""Segmentation of long speech into segments of bounded length, cut where it is quietest; RMS levels."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from musetalk_core.formats.pcm import Samples
from musetalk_core.types import SPEECH_RATE_HZ, Float

MAX_SEGMENT_S: Final = 30.0
"""Default length of the longest segment in seconds."""
_MIN_CUT_SHARE: Final = 0.5
"""Earliest cut as a share of the longest segment: cuts lie in its second half."""
_LEVEL_STEP_S: Final = 0.01
_CUT_WINDOW_S: Final = 0.2
"""A cut is placed in the middle of the quietest stretch of this length."""
_SILENCE_RMS: Final = 0.002
"""-54 dBFS: quieter steps count as silence."""


def split_at_pauses(samples: Samples, max_segment_s: float = MAX_SEGMENT_S) -> Iterator[tuple[int, int]]:
    """
    Split speech into segments at its quietest points.

    Args:
        samples:       16 kHz mono speech; read one segment at a time.
        max_segment_s: length of the longest segment in seconds.

    Yields:
        First sample and last sample + 1 of every segment; segments are contiguous.
    """
    max_samples, start = int(max_segment_s * SPEECH_RATE_HZ), 0
    while samples.count - start > max_samples:
        first = start + int(max_samples * _MIN_CUT_SHARE)
        cut = first + _quietest_sample(samples.read(first, start + max_samples))
        yield start, cut
        start = cut
    if start < samples.count:
        yield start, samples.count


def rms_levels(samples: Float, step_s: float = _LEVEL_STEP_S) -> Float:
    """Return the (n,) float32 RMS of every whole step of (S,) samples."""
    step = int(step_s * SPEECH_RATE_HZ)
    steps = samples[: len(samples) // step * step].reshape(-1, step)
    return np.sqrt(np.einsum("ij,ij->i", steps, steps) / step).astype(np.float32)


def loud_seconds(samples: Float) -> float:
    """Return how many seconds of (S,) samples are louder than silence."""
    return float((rms_levels(samples) > _SILENCE_RMS).sum() * _LEVEL_STEP_S)


def _quietest_sample(samples: Float) -> int:
    """Return the index of the sample in the middle of the 0.2 s with the least energy; at least 1."""
    power = rms_levels(samples) ** 2
    width = min(round(_CUT_WINDOW_S / _LEVEL_STEP_S), len(power))
    window_power = np.convolve(power, np.ones(width, np.float32), "valid")
    middle = int(window_power.argmin()) + width / 2
    return max(1, int(middle * _LEVEL_STEP_S * SPEECH_RATE_HZ))
