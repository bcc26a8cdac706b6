"""Keep one continuous time for a stream whose clock starts again midway, as in files that were joined."""

from fractions import Fraction
from typing import Final

_RESTARTING_DEMUXERS: Final = frozenset({"ogg", "mpegts"})
"""Formats whose streams may start a new clock: chained Ogg files, joined recordings of a broadcast."""
MIN_GAP_S: Final = Fraction(1, 10)
"""Seconds of the shortest gap or overlap that counts; smaller differences are timestamp jitter."""
_MAX_GAP_S: Final = 10
"""Seconds of the longest gap; a longer jump forwards is a new clock. ffmpeg uses the same value."""


def restart_offset(time_s: Fraction, expected_s: Fraction, demuxer: str) -> Fraction:
    """
    Return the seconds to add to this and all later timestamps of a stream.

    Args:
        time_s:     timestamp of a frame, with the offsets so far.
        expected_s: end of the frame before it.
        demuxer:    FFmpeg's name of the demuxer.

    Returns:
        0 while the clock continues; else the offset with which the frame follows the one before it.
    """
    jump = time_s - expected_s
    if demuxer in _RESTARTING_DEMUXERS and not -MIN_GAP_S < jump <= _MAX_GAP_S:
        return -jump
    return Fraction(0)
