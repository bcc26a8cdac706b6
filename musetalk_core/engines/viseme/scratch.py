"""Memory that is used again for every frame: asking the system for megabytes costs more than filling them."""

import threading
from math import prod

import numpy as np

from musetalk_core.types import Float


class _Kept(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[str, Float] = {}


_KEPT = _Kept()


def scratch(name: str, *shape: int) -> Float:
    """
    Give an array to write into; its thread gets the same memory at the next call with this name.

    Args:
        name:  of the purpose.
        shape: wanted.

    Returns:
        float32, C-contiguous, of any content; must not outlive the frame it is used for.
    """
    count = prod(shape)
    array = _KEPT.arrays.get(name)
    if array is None or array.size < count:
        array = _KEPT.arrays[name] = np.empty(count * 5 // 4, np.float32)
    return array[:count].reshape(shape)
