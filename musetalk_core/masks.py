"""The masks of an avatar's frames: made once per source frame and kept while memory allows."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from musetalk_core.types import Box, Mask

BUDGET: Final = 64 * 1024 * 1024
"""Bytes of masks kept: some 2,400 frames of a face 300 pixels high."""

Placed = tuple[Mask, Box] | None


class MaskCache:
    """Least recently used masks go first; safe to use from several threads."""

    def __init__(self, budget_bytes: int = BUDGET) -> None:
        self.made = 0
        """Masks that were made so far."""
        self._budget = budget_bytes
        self._kept = OrderedDict[int, Placed]()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, frame: int, make: Callable[[], Placed]) -> Placed:
        """The mask of a source frame; `make` gives it cut to what is not zero, so that it takes little."""
        with self._lock:
            if frame in self._kept:
                self._kept.move_to_end(frame)
                return self._kept[frame]
        placed = make()
        with self._lock:
            self.made += 1
            self._keep(frame, placed)
        return placed

    def _keep(self, frame: int, placed: Placed) -> None:
        if frame in self._kept:
            return
        self._kept[frame] = placed
        self._bytes += _size(placed)
        while self._bytes > self._budget and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(placed: Placed) -> int:
    return 0 if placed is None else placed[0].nbytes
