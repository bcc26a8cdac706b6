"""Map output frames to source frames across frame rates, in exact integers without drift."""

from fractions import Fraction
from typing import Literal

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.media.index import VideoIndex
from musetalk_core.types import Ints

Playback = Literal["bounce", "loop"]
"""After the end of the source, `bounce` plays it backwards, then forwards again; `loop` restarts it."""
_SAFE = 2**62


def source_times(frames: int, rate: Fraction, index: VideoIndex, mode: Playback = "bounce") -> Ints:
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
    return source_slice(0, frames, rate, index, mode)


def source_slice(start: int, stop: int, rate: Fraction, index: VideoIndex, mode: Playback = "bounce") -> Ints:
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
        place, turned = _folded(_middles(start, stop, index.rate / rate), index.frames, mode)
        return np.where(turned, index.frames - 1 - place, place)
    place, turned = _folded(_middles(start, stop, 1 / (rate * index.time_base)), index.duration, mode)
    # A frame is shown during [start, next). In reverse that is (start, next], so take the tick just before
    # the mirrored time.
    return index.frames_at(np.where(turned, index.duration - 1 - place, place))


def _middles(start: int, stop: int, step: Fraction) -> Ints:
    """Return floor((k + 1/2) * step) for k in start..stop-1, (K,) int64: frame middles in source units."""
    numbers = 2 * np.arange(start, stop, dtype=np.int64) + 1
    if (2 * stop + 1) * step.numerator < _SAFE:
        return numbers * step.numerator // (2 * step.denominator)
    exact = [int(number) * step.numerator // (2 * step.denominator) for number in numbers]
    return np.array(exact, np.int64)


def _folded(
    units: Ints, length: int, mode: Playback
) -> tuple[Ints, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Return the position 0..length-1 within one pass of the source, and whether that pass runs backwards."""
    passes, place = np.divmod(units, length)
    turned = (passes % 2 == 1) if mode == "bounce" else np.zeros(len(units), bool)
    return place, turned
