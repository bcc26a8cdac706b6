"""
Numeric basics of the mouth warp: smoothstep, reusable buffers and the layout of the control points.

All control points are in one array; the fields above and below the lip line share one equation system.
"""

import threading
from math import prod
from typing import Final

import numpy as np

from musetalk_core.types import Float


def smoothstep(x: Float) -> Float:
    """Return 3x^2 - 2x^3 with x clamped to 0..1; float32, the shape of `x`."""
    t = np.maximum(x, 0, dtype=np.float32)
    np.minimum(t, 1, out=t)
    out = t * t
    t *= -2
    t += 3
    out *= t
    return out


def smoothstep_scalar(x: float) -> float:
    """Return 3x^2 - 2x^3 with x clamped to 0..1, for one number."""
    t = min(max(x, 0.0), 1.0)
    return t * t * (3 - 2 * t)


class _ThreadBuffers(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[str, Float] = {}


_BUFFERS = _ThreadBuffers()


def scratch_buffer(name: str, *shape: int) -> Float:
    """
    Return a reusable array; later calls with the same name in this thread return the same memory.

    Args:
        name:  purpose, the key of the buffer.
        shape: of the array.

    Returns:
        float32, C-contiguous, uninitialized; must not be used after the current frame.
    """
    count = prod(shape)
    array = _BUFFERS.arrays.get(name)
    if array is None or array.size < count:
        array = _BUFFERS.arrays[name] = np.empty(count * 5 // 4, np.float32)
    return array[:count].reshape(shape)


UPPER_OUTER: Final = slice(0, 11)
UPPER_INNER: Final = slice(11, 22)
PLANE: Final = slice(22, 25)
"""Not points: the rows of the spline's constant and its two slopes; zeros."""
FIXED: Final = slice(25, 61)
LOWER_OUTER: Final = slice(61, 72)
LOWER_INNER: Final = slice(72, 83)
CHIN: Final = slice(83, 93)
JAW: Final = slice(93, 108)

POINT_COUNT: Final = 108
UPPER_FIELD: Final = slice(0, 61)
"""Control points of the field above the lip line."""
LOWER_FIELD: Final = slice(22, 108)
"""Control points of the field below the lip line; both include the plane and the fixed points."""
