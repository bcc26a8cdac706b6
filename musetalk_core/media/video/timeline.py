"""Map output frames to source frames across frame rates, in exact integers without drift."""

from fractions import Fraction
from typing import Literal

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.media.video.frame_index import VideoIndex
from musetalk_core.types import Ints

Playback = Literal["bounce", "loop"]
"""After the end of the source, `bounce` plays it backwards, then forwards again; `loop` restarts it."""
_MAX_EXACT_PRODUCT = 2**62


def source_frames(frames: int, rate: Fraction, index: VideoIndex, mode: Playback = "bounce") -> Ints:
    """
    Return the source frame of every output frame.

    Args:
        frames: number of output frames.
        rate:   output frames per second.
        index:  frame index of the source.
        mode:   what follows the end of the source.

    Returns:
        (frames,) int64 source frame numbers. Output frame k shows the source's frame at (k + 1/2) / rate
        seconds.
    """
    return source_frames_between(0, frames, rate, index, mode)


def source_frames_between(
    start: int, stop: int, rate: Fraction, index: VideoIndex, mode: Playback = "bounce"
) -> Ints:
    """
    Return the source frames of output frames start..stop-1, equal to that slice of `source_frames`.

    Args:
        start: first output frame.
        stop:  one past the last output frame.
        rate:  output frames per second.
        index: frame index of the source.
        mode:  what follows the end of the source.

    Returns:
        (stop - start,) int64 source frame numbers.

    Raises:
        InputError: the rate is not positive, or not 0 <= start <= stop.
    """
    if rate <= 0 or not 0 <= start <= stop:
        raise InputError(f"frames {start} to {stop} at {rate} frames per second are not a valid range")
    if index.frames == 1:
        return np.zeros(stop - start, np.int64)
    if index.is_constant:
        position, is_reversed = _fold_passes(
            _frame_middles(start, stop, index.rate / rate), index.frames, mode
        )
        return np.where(is_reversed, index.frames - 1 - position, position)
    position, is_reversed = _fold_passes(
        _frame_middles(start, stop, 1 / (rate * index.time_base)), index.span, mode
    )
    # A frame is shown during [start, next). In reverse that is (start, next], so take the tick just before
    # the mirrored time.
    return index.frames_at(np.where(is_reversed, index.span - 1 - position, position))


def _frame_middles(start: int, stop: int, step: Fraction) -> Ints:
    """Return floor((k + 1/2) * step) for k in start..stop-1, (K,) int64: frame middles in source units."""
    numbers = 2 * np.arange(start, stop, dtype=np.int64) + 1
    if (2 * stop + 1) * step.numerator < _MAX_EXACT_PRODUCT:
        return numbers * step.numerator // (2 * step.denominator)
    exact = [int(number) * step.numerator // (2 * step.denominator) for number in numbers]
    return np.array(exact, np.int64)


def _fold_passes(
    units: Ints, length: int, mode: Playback
) -> tuple[Ints, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Return the position 0..length-1 within one pass of the source, and whether that pass runs backwards."""
    passes, position = np.divmod(units, length)
    is_reversed = (passes % 2 == 1) if mode == "bounce" else np.zeros(len(units), bool)
    return position, is_reversed
