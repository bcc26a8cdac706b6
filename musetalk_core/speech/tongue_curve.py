"""How visible the tip of the tongue is while a speech is spoken: at the upper teeth in th, l and d."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from musetalk_core.speech.phones import Phone
from musetalk_core.speech.visemes import to_arpabet
from musetalk_core.types import Float

_VISIBILITY: Final = {"TH": 1.0, "DH": 1.0, "L": 0.7, "D": 0.4, "T": 0.4, "N": 0.4}
_LEAD_S, _RAMP_S = 0.02, 0.05
"""The tongue moves this long before the sound, and takes this long to rise and to fall."""


def tongue_curve(phones: Sequence[Phone], frames: int, rate: Fraction) -> Float:
    """
    Compute the visibility of the tip of the tongue per video frame.

    Args:
        phones: the phones of the speech in order.
        frames: T, number of video frames.
        rate:   video frames per second.

    Returns:
        (T,) float32: 0 = at the bottom of the mouth .. 1 = between the teeth.
    """
    out = np.zeros(frames, np.float32)
    for phone in phones:
        visibility = _VISIBILITY.get(to_arpabet(phone.name), 0.0)
        if visibility:
            start, end = phone.start_s - _LEAD_S, phone.end_s - _LEAD_S
            first = max(0, int((start - _RAMP_S) * rate))
            last = min(frames, int((end + _RAMP_S) * rate) + 2)
            time_s = (np.arange(first, last) + 0.5) / float(rate)
            distance = np.clip(np.maximum(start - time_s, time_s - end) / _RAMP_S, 0, 1)
            pulse = np.float32(visibility) * (0.5 + 0.5 * np.cos(np.pi * distance))
            out[first:last] = np.maximum(out[first:last], pulse)
    return out
