"""
Which encoder rows each output frame hears: index arithmetic, no tensors.

The exact rule looks from 80 ms before to 120 ms after a frame at any rate. The original's own windows, which
drift and shift at most rates, are here for comparison under `upstream_rows`.
"""

from fractions import Fraction
from math import ceil, floor
from typing import Final

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.speech.rows import ROWS_PER_S
from musetalk_core.types import SPEECH_RATE_HZ, Ints

ABSENT: Final = -1
"""Stands for a row of zeros."""
WIDEST_PADDING: Final = 10


def window_width(left: int = 2, right: int = 2) -> int:
    """
    Rows a frame hears; five states each make its tokens.

    Raises:
        InputError: a padding is not in 0..10.
    """
    if not (0 <= left <= WIDEST_PADDING and 0 <= right <= WIDEST_PADDING):
        raise InputError(f"audio paddings lie in 0..{WIDEST_PADDING}, not {left}, {right}")
    return 2 * (left + right + 1)


def window_rows(first: int, stop: int, rate: Fraction, rows: int, left: int = 2, right: int = 2) -> Ints:
    """
    Give the rows of some output frames by the exact rule.

    Args:
        first: the first output frame.
        stop:  one past the last; n = stop - first.
        rate:  output frames per second; rational, so that hours do not drift.
        rows:  L, see `musetalk_core.speech.rows.row_count`.
        left:  half the rows before the frame's own.
        right: half the rows after the frame's own two.

    Returns:
        (n, 2 * (left + right + 1)) int64, rows of the encoder's states; -1 outside 0..L-1, a row of zeros.

    Raises:
        InputError: a padding is not in 0..10, or the rate not positive.
    """
    if rate <= 0:
        raise InputError(f"a frame rate is positive, not {rate}")
    width = window_width(left, right)
    own = np.arange(first, stop, dtype=np.int64) * (ROWS_PER_S * rate.denominator) // rate.numerator
    found = own[:, None] - 2 * left + np.arange(width)
    return np.where((found >= 0) & (found < rows), found, ABSENT)


def upstream_frames(samples: int, fps: float, left: int = 2, right: int = 2) -> int:
    """
    Count the frames that the original makes of speech, its float rounding included.

    Args:
        samples: S, at 16 kHz.
        fps:     as the original reads it from a video; it goes on with the whole part.
        left:    its `audio_padding_length_left`.
        right:   its `audio_padding_length_right`.

    Raises:
        InputError: the original ends with an error.
    """
    whole = int(fps)
    frames = floor((samples / SPEECH_RATE_HZ) * whole) if whole > 0 else 0
    if frames == 0:
        raise InputError(f"the original makes no frame of {samples} samples at {fps} fps", samples=samples)
    rows = upstream_row_count(samples)
    before, after = _upstream_padding(rows, whole, left, right)
    last = floor((frames - 1) * (ROWS_PER_S / whole))
    if last + window_width(left, right) > before + rows + after:
        raise InputError(
            f"the original runs past the end of the sound: {samples} samples at {fps} fps", samples=samples
        )
    return frames


def upstream_row_count(samples: int) -> int:
    """Count the rows L that the original keeps, its float rounding included."""
    return floor((samples / SPEECH_RATE_HZ) * ROWS_PER_S)


def upstream_rows(first: int, stop: int, fps: float, rows: int, left: int = 2, right: int = 2) -> Ints:
    """
    Give the rows of some output frames as the original reads them, its float rounding included.

    Args:
        first: the first output frame.
        stop:  one past the last; n = stop - first. Frames that the original has not are served, too.
        fps:   see `upstream_frames`.
        rows:  L, see `upstream_row_count`.
        left:  see `upstream_frames`.
        right: see `upstream_frames`.

    Returns:
        (n, 2 * (left + right + 1)) int64 like `window_rows`.

    Raises:
        InputError: a padding is not in 0..10, or the rate below 1.
    """
    if fps < 1:
        raise InputError(f"the original knows no rate below 1, such as {fps}")
    before, _ = _upstream_padding(rows, int(fps), left, right)
    # parity: musetalk/utils/audio_processor.py multiplies a float step before it rounds down
    own = np.floor(np.arange(first, stop) * (ROWS_PER_S / int(fps))).astype(np.int64)
    found = own[:, None] - before + np.arange(window_width(left, right))
    return np.where((found >= 0) & (found < rows), found, ABSENT)


def _upstream_padding(rows: int, fps: int, left: int, right: int) -> tuple[int, int]:
    """Zero rows before and after; they are cut from the L rows, so they are no more than L."""
    unit = ceil(ROWS_PER_S / fps)
    return min(unit * left, rows), min(unit * 3 * right, rows)
