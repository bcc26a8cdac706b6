"""
Choice of the frames to measure: at most three seconds of a video, where its speech shows most.

The choice depends on the mouth curves alone, so it costs nothing and is the same each time. Speech takes two
windows, the liveliest of each half of the video, so that a defect which appears late is found; the longest
pause takes a fifth of the time, because a mouth that moves in pauses shows nowhere else.
"""

from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from musetalk_core.types import Float

MEASURED_S: Final = 3.0
"""Seconds of video that are measured by default."""
_PAUSE_SHARE: Final = 0.2
_MIN_PAUSE_S: Final = 0.4
_STILL_OPENING: Final = 0.03


class Window(NamedTuple):
    """A range of output frames, half-open."""

    start: int
    stop: int


def plan_windows(curves: Float, rate: Fraction, seconds: float = MEASURED_S, first: int = 0) -> list[Window]:
    """
    Return the windows to measure, in order and without overlap.

    Args:
        curves:  (T, 3) float32, the mouth curves of the video.
        rate:    frames per second.
        seconds: upper limit of their total duration.
        first:   first frame that may be measured.

    Returns:
        The whole video if it is not longer than `seconds`.
    """
    windows = _plan_windows(curves[first:], rate, seconds)
    return [Window(first + window.start, first + window.stop) for window in windows]


def _plan_windows(curves: Float, rate: Fraction, seconds: float) -> list[Window]:
    total, budget = len(curves), max(3, int(seconds * rate))
    if total <= budget:
        return [Window(0, total)] if total else []
    pause = _longest_pause(curves[:, 0], rate, int(budget * _PAUSE_SHARE))
    length = (budget - (pause.stop - pause.start if pause else 0)) // 2
    liveliness = np.abs(np.diff(curves[:, 0], prepend=curves[:1, 0])) + np.abs(
        np.diff(curves[:, 1], prepend=curves[:1, 1])
    )
    middle = total // 2
    windows = [
        _liveliest(liveliness, 0, middle, length),
        _liveliest(liveliness, middle, total, length),
        *([pause] if pause else []),
    ]
    return _merge(windows)


def _longest_pause(opening: Float, rate: Fraction, limit: int) -> Window | None:
    """Return the middle of the longest pause, at most `limit` frames; None if there is no pause of 0.4 s."""
    is_still = np.concatenate([[0], opening < _STILL_OPENING, [0]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(is_still)).reshape(-1, 2)
    if not len(edges):
        return None
    start, stop = (int(v) for v in edges[np.argmax(edges[:, 1] - edges[:, 0])])
    if stop - start < _MIN_PAUSE_S * rate:
        return None
    spare = max(0, stop - start - limit) // 2
    return Window(start + spare, min(stop, start + spare + limit))


def _liveliest(liveliness: Float, start: int, stop: int, length: int) -> Window:
    length = min(length, stop - start)
    sums = np.convolve(liveliness[start:stop], np.ones(length, np.float32), "valid")
    first = start + int(sums.argmax())
    return Window(first, first + length)


def _merge(windows: list[Window]) -> list[Window]:
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start <= merged[-1].stop:
            merged[-1] = Window(merged[-1].start, max(merged[-1].stop, window.stop))
        else:
            merged.append(window)
    return merged
