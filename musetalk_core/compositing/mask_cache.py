"""Memory-bounded cache of an avatar's blend masks, one per source frame."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.types import Box, Mask

MASK_CACHE_BYTES: Final = 32 * 1024 * 1024
"""Default size of the cache in bytes: about 1,200 frames of a face 300 pixels high, 48 seconds of a clip."""

PositionedMask = tuple[Mask, Box] | None


@dataclass(frozen=True, slots=True)
class _StoredMask:
    """Position of a mask in the buffer. A frame without a mask takes one byte and is evicted by age too."""

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

    def __init__(self, budget_bytes: int = MASK_CACHE_BYTES) -> None:
        self.computed_count = 0
        """Number of masks computed so far."""
        self._buffer = np.empty(budget_bytes, np.uint8)  # the system assigns pages on the first write
        self._write_offset = 0
        self._entries = OrderedDict[int, _StoredMask]()
        self._lock = threading.Lock()

    def get(self, frame: int, compute_mask: Callable[[], PositionedMask]) -> PositionedMask:
        """
        Return the mask of a source frame, computing it if it is not cached.

        Args:
            frame:        number of the source frame.
            compute_mask: computes the mask, cropped to its non-zero part to save memory.

        Returns:
            (h, w) uint8 mask, a copy, and its position; None if `compute_mask` returned None.
        """
        with self._lock:
            if frame in self._entries:
                return self._read_mask(self._entries[frame])
        positioned_mask = compute_mask()
        with self._lock:
            self.computed_count += 1
            if frame not in self._entries:
                self._store(frame, positioned_mask)
        return positioned_mask

    def _read_mask(self, entry: _StoredMask) -> PositionedMask:
        if entry.box is None:
            return None
        mask = self._buffer[entry.start : entry.start + math.prod(entry.shape)]
        return mask.reshape(entry.shape).copy(), entry.box

    def _store(self, frame: int, positioned_mask: PositionedMask) -> None:
        size = 1 if positioned_mask is None else max(1, positioned_mask[0].size)
        if size > len(self._buffer):
            return
        if self._write_offset + size > len(
            self._buffer
        ):  # wrap around; entries behind the write offset are the oldest
            self._evict_oldest_while(lambda kept: kept.start >= self._write_offset)
            self._write_offset = 0
        start, stop = self._write_offset, self._write_offset + size
        self._evict_oldest_while(lambda kept: kept.start < stop and kept.stop > start)
        self._write_offset = stop
        if positioned_mask is None:
            self._entries[frame] = _StoredMask(start, stop, (0,), None)
            return
        mask, box = positioned_mask
        self._buffer[start : start + mask.size] = mask.ravel()
        self._entries[frame] = _StoredMask(start, stop, mask.shape, box)

    def _evict_oldest_while(self, should_evict: Callable[[_StoredMask], bool]) -> None:
        """Evict the oldest entries while the condition holds; the buffer stores them in order of age."""
        while self._entries and should_evict(next(iter(self._entries.values()))):
            self._entries.popitem(last=False)
