"""Scratch buffers per thread, reused for every frame: allocating megabytes costs more than filling them."""

import threading
from math import prod

import numpy as np

from musetalk_core.types import Float


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
