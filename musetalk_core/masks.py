"""Memory-bounded cache of an avatar's blend masks, one per source frame."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.types import Box, Mask

BUDGET: Final = 32 * 1024 * 1024
"""Default size of the cache in bytes: about 1,200 frames of a face 300 pixels high, 48 seconds of a clip."""

Placed = tuple[Mask, Box] | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """Position of a mask in the buffer. A frame without a mask takes one byte, so that it has an age, too."""

    start: int
    stop: int
    shape: tuple[int, ...]
    box: Box | None


class MaskCache:
    """
    A cache of masks that evicts the oldest first. Thread-safe.

    All masks are stored in one ring buffer. As separate arrays they would take about twice their size,
    because small long-lived blocks between large short-lived ones fragment the heap.
    """

    def __init__(self, budget_bytes: int = BUDGET) -> None:
        self.made = 0
        """Number of masks computed so far."""
        self._room = np.empty(budget_bytes, np.uint8)  # the system assigns pages on the first write
        self._next = 0
        self._kept = OrderedDict[int, _Kept]()
        self._lock = threading.Lock()

    def get(self, frame: int, make: Callable[[], Placed]) -> Placed:
        """
        Return the mask of a source frame, computing it if it is not cached.

        Args:
            frame:        number of the source frame.
            compute_mask: computes the mask, cropped to its non-zero part to save memory.

        Returns:
            (h, w) uint8 mask, a copy, and its position; None if `compute_mask` returned None.
        """
        with self._lock:
            if frame in self._kept:
                return self._copy(self._kept[frame])
        placed = make()
        with self._lock:
            self.made += 1
            if frame not in self._kept:
                self._keep(frame, placed)
        return placed

    def _copy(self, kept: _Kept) -> Placed:
        if kept.box is None:
            return None
        mask = self._room[kept.start : kept.start + math.prod(kept.shape)]
        return mask.reshape(kept.shape).copy(), kept.box

    def _keep(self, frame: int, placed: Placed) -> None:
        size = 1 if placed is None else max(1, placed[0].size)
        if size > len(self._room):
            return
        if self._next + size > len(self._room):  # wrap around; entries behind the write offset are the oldest
            self._drop(lambda kept: kept.start >= self._next)
            self._next = 0
        start, stop = self._next, self._next + size
        self._drop(lambda kept: kept.start < stop and kept.stop > start)
        self._next = stop
        if placed is None:
            self._kept[frame] = _Kept(start, stop, (0,), None)
            return
        mask, box = placed
        self._room[start : start + mask.size] = mask.ravel()
        self._kept[frame] = _Kept(start, stop, mask.shape, box)

    def _drop(self, is_in_the_way: Callable[[_Kept], bool]) -> None:
        """Evict the oldest entries while the condition holds; the buffer stores them in order of age."""
        while self._kept and is_in_the_way(next(iter(self._kept.values()))):
            self._kept.popitem(last=False)
