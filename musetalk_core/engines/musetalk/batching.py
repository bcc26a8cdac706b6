"""How many frames a device renders at once: found on the job's own frames, halved when memory ends."""

import logging
import time
from collections.abc import Callable
from typing import Final

import torch

from musetalk_core.errors import EngineOutOfMemory
from musetalk_core.types import Image

_log = logging.getLogger(__name__)
_WORTH: Final = 0.95
"""A doubled batch is kept when it takes less than this share of the time per frame."""


class BatchSize:
    """Doubles from batch to batch while that is faster; measuring costs nothing: the frames are wanted."""

    def __init__(self, most: int, first: int = 1) -> None:
        """
        Start small.

        Args:
            most:  never exceeded.
            first: size of the first batch.
        """
        self.size = min(first, most)
        """The size now in use."""
        self.halvings = 0
        """How often the device ran out of memory."""
        self._most = most
        self._best_s = float("inf")
        self._warm = False
        self._is_settled = self.size == most

    def run(self, start: int, wanted: int, render: Callable[[slice], Image]) -> Image:
        """
        Render the next frames, as many as are good at once.

        Args:
            start:  where they begin.
            wanted: how many are left.
            render: renders a slice of them.

        Returns:
            (n, ...) for 1 <= n <= wanted.

        Raises:
            EngineOutOfMemory: there is no memory for one frame.
        """
        while True:
            count = min(self.size, wanted)
            began = time.perf_counter()
            try:
                made = render(slice(start, start + count))
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(count, error)
            else:
                self._learn(count, (time.perf_counter() - began) / count)
                return made
            _give_back()  # only now: the error held the failed call's frames, and these its tensors

    def filled(self, count: int) -> int:
        """
        Say how many frames to give a card that has only `count` of them left.

        A card's library chooses its kernels anew for each number of frames, which takes longer than some
        frames that nobody looks at (docs/LOG.md); so the last batches of all chunks have one of a few sizes:
        those that doubling goes through, and the size in use.
        """
        return max(count, min(1 << (count - 1).bit_length(), self.size))

    def _halve(self, count: int, error: BaseException) -> None:
        if count == 1:
            raise EngineOutOfMemory(f"the device has no memory for a single frame: {error}") from error
        self.size, self._is_settled = max(1, count // 2), True
        self.halvings += 1
        _log.warning("the device ran out of memory at %d frames; going on with %d", count, self.size)

    def _learn(self, count: int, seconds: float) -> None:
        if self._is_settled or count < self.size:
            return
        if not self._warm:  # the first call of a size also chooses its kernels
            self._warm = True
            return
        self._warm = False
        if seconds > _WORTH * self._best_s:
            self.size, self._is_settled = max(1, self.size // 2), True
        else:
            self._best_s = seconds
            self.size = min(2 * self.size, self._most)
            self._is_settled = self.size == count


def _is_out_of_memory(error: Exception) -> bool:
    """CUDA's libraries, Apple's and the processor's allocators raise plain RuntimeErrors."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "can't allocate memory", "alloc_failed"))


def _give_back() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
