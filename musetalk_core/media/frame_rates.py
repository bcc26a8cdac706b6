"""Frame rates as exact fractions: snap a container's rate to standard rates, choose a rate to render at."""

from fractions import Fraction
from math import ceil

_RATE_TOLERANCE = Fraction(1, 1000)
# 24000/1001 (23.976), 30000/1001 (29.97) and so on.
_NTSC = tuple(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120))
_WHOLE = tuple(map(Fraction, (5, 6, 8, 10, 12, 15, 16, 18, 20, 24, 25, 30, 48, 50, 60, 72, 90, 100, 120)))
STANDARD_RATES = tuple(sorted((*_WHOLE, *_NTSC, Fraction(25, 2))))
DEFAULT_RATE = Fraction(25)
"""Frames per second for a still and for video of unknown rate."""
_MIN_LIP_RATE, _MULTIPLIED_RATE = Fraction(20), Fraction(24)
"""Sources below the first rate are rendered at the lowest multiple of their rate from the second one on."""
_DIVIDED_RATE = Fraction(60)
MAX_SOURCE_RATE = 1000
"""Frames per second beyond which a header counts as damaged."""
_MIN_GUESSED_RATE = Fraction(10)
_MIN_FRAME_SHARE = Fraction(4, 5)
"""A clip with dropped frames gets its full rate if at least this share of its frames is present."""


def snap_to_standard(rate: Fraction) -> Fraction:
    """Return the nearest standard rate within 0.1 %, else the rate with a denominator of at most 1001."""
    nearest = nearest_standard(rate)
    if abs(nearest - rate) <= rate * _RATE_TOLERANCE:
        return nearest
    return rate.limit_denominator(1001)


def nearest_standard(rate: Fraction, lowest: Fraction = Fraction(1)) -> Fraction:
    """Return the standard rate nearest to a positive rate, never below `lowest`."""
    choices = [standard for standard in STANDARD_RATES if standard >= lowest]
    return min(choices, key=lambda standard: (abs(standard - rate), standard))


def source_rate(average: Fraction | None, base: Fraction | None, highest: int) -> Fraction:
    """
    Choose the rate to render a source at, from the rates its container states.

    Args:
        average: frames divided by duration; None if unknown.
        base:    the lowest rate whose grid contains all timestamps; equals `average` for constant rates.
        highest: maximum frames per second.
    """
    if not average or average <= 0:
        return DEFAULT_RATE
    if base and abs(base - average) <= average * _RATE_TOLERANCE:
        rate = snap_to_standard(average)
    elif base and base * _MIN_FRAME_SHARE <= average <= base:
        rate = snap_to_standard(base)
    else:
        rate = variable_rate(average)
    return min(rate, Fraction(highest))


def render_rate(rate: Fraction, highest: int) -> Fraction:
    """
    Return the rate to render a source at.

    Lips need about 25 frames per second: lower rates are multiplied. Rates above the highest, as of slow
    motion, are divided, to at most 60.

    Args:
        rate:    frames per second of the source.
        highest: maximum frames per second.
    """
    if rate < _MIN_LIP_RATE:
        if (DEFAULT_RATE / rate).denominator == 1:
            return DEFAULT_RATE
        return rate * ceil(_MULTIPLIED_RATE / rate)
    return rate if rate <= highest else rate / ceil(rate / min(_DIVIDED_RATE, highest))


def variable_rate(average: Fraction) -> Fraction:
    """Choose a constant rate for variable-rate video: the standard rate nearest its average, at least 10."""
    return nearest_standard(average, _MIN_GUESSED_RATE)
