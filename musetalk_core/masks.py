"""The masks of an avatar's frames: made once per source frame and kept while there is room."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.types import Box, Mask

BUDGET: Final = 32 * 1024 * 1024
"""Bytes of masks kept: some 1,200 frames of a face 300 pixels high, 48 seconds of a clip."""

Placed = tuple[Mask, Box] | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where a mask lies in the room; a frame that has none takes a byte, so that all have an order."""

    start: int
    stop: int
    shape: tuple[int, ...]
    box: Box | None


class MaskCache:
    """
    The oldest masks go first; safe to use from several threads.

    All lie in one piece of memory, in turn. As arrays of their own they cost about twice their bytes: small
    pieces that live long, between large ones that do not, are what a heap cannot give back.
    """

    def __init__(self, budget_bytes: int = BUDGET) -> None:
        self.made = 0
        """Masks that were made so far."""
        self._room = np.empty(budget_bytes, np.uint8)  # memory is taken when it is written
        self._next = 0
        self._kept = OrderedDict[int, _Kept]()
        self._lock = threading.Lock()

    def get(self, frame: int, make: Callable[[], Placed]) -> Placed:
        """
        Return the mask of a source frame.

        Args:
            frame: which.
            make:  gives it cut to what is not zero, so that it takes little.

        Returns:
            (h, w) uint8 and its place, the caller's own; None where `make` gave none.
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
        if self._next + size > len(self._room):  # round again: what is left of the last round goes
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
        """Forget the oldest ones, as far as they are in the way: they lie in the order of their age."""
        while self._kept and is_in_the_way(next(iter(self._kept.values()))):
            self._kept.popitem(last=False)
