"""Adaptive batch size for rendering: measured on the frames of jobs, halved on out-of-memory errors."""

import logging
import time
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Final

import torch

from musetalk_core.errors import EngineOutOfMemory
from musetalk_core.types import Image

_log = logging.getLogger(__name__)
_MAX_TIME_RATIO: Final = 0.95
"""A doubled batch size is kept if it takes less than this share of the previous best time per frame."""
_MAX_BATCH_S: Final = 1.0
"""Longest expected time of a batch in seconds: progress and cancellation wait for a whole batch."""


class BatchSize:
    """
    A batch size that doubles from batch to batch while the time per frame drops.

    The measured batches are frames of the job, so measuring adds no work. A batch takes about a second at
    most.
    """

    def __init__(self, max_size: int, initial_size: int = 1) -> None:
        """
        Start at a small size.

        Args:
            max_size:     largest batch size.
            initial_size: size of the first batch.
        """
        self.size = min(initial_size, max_size)
        """The batch size of the next batch."""
        self._largest_rendered = 0
        self.halvings = 0
        """How often the device ran out of memory and the batch size was halved."""
        self._max_size = max_size
        self._best_s_per_frame = float("inf")
        self._is_warmed_up = False
        self._is_fixed = self.size == max_size

    @property
    def rendered_size(self) -> int:
        """The batch size in use: `size` once it is final, else the largest so far; 0 before any batch."""
        if self._is_fixed and self._largest_rendered:
            return self.size
        return min(self.size, self._largest_rendered)

    def run(self, start: int, remaining: int, render: Callable[[slice], Image]) -> Image:
        """
        Render the next batch of frames.

        Args:
            start:     index of the first frame.
            remaining: number of frames left to render.
            render:    renders a slice of frame indexes.

        Returns:
            (n, ...) for 1 <= n <= remaining.

        Raises:
            EngineOutOfMemory: the device has no memory for one frame.
        """
        while True:
            count = min(self.size, remaining)
            began = time.perf_counter()
            try:
                rendered = render(slice(start, start + count))
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(count, error)
            else:
                self._largest_rendered = max(self._largest_rendered, count)
                self._adjust(count, (time.perf_counter() - began) / count)
                return rendered
            _release_memory()  # outside the except block: the error keeps the failed call's tensors alive

    def padded_size(self, count: int) -> int:
        """
        Return the number of frames to pad a partial batch of `count` frames to on a GPU.

        CUDA's libraries choose their kernels again for each new batch size, which takes longer than a few
        extra frames (docs/LOG.md). The last batches of all chunks therefore use few sizes: powers of two and
        the size in use.
        """
        return max(count, min(1 << (count - 1).bit_length(), self.size))

    def _halve(self, count: int, error: BaseException) -> None:
        if count == 1:
            raise EngineOutOfMemory(f"the device has no memory for a single frame: {error}") from error
        self.size, self._is_fixed = max(1, count // 2), True
        self.halvings += 1
        _log.warning("the device ran out of memory with %d frames; continuing with %d", count, self.size)

    def _adjust(self, count: int, seconds_per_frame: float) -> None:
        if self._is_fixed or count < self.size:
            return
        if not self._is_warmed_up:  # not measured: the first batch of a size also selects kernels
            self._is_warmed_up = True
            return
        self._is_warmed_up = False
        if seconds_per_frame > _MAX_TIME_RATIO * self._best_s_per_frame:
            self.size, self._is_fixed = max(1, self.size // 2), True
        else:
            self._best_s_per_frame = seconds_per_frame
            may_double = 2 * count * seconds_per_frame <= _MAX_BATCH_S
            self.size = min(2 * self.size, self._max_size) if may_double else self.size
            self._is_fixed = self.size == count


@lru_cache(maxsize=8)
def shared_batch_size(key: tuple[Hashable, ...], max_size: int, initial_size: int) -> BatchSize:
    """
    Return the batch size of this process for a device and its networks, so that it is measured once.

    Args:
        key:          the device, its precision and optimizations, and the weights.
        max_size:     see `BatchSize`.
        initial_size: see `BatchSize`.
    """
    del key
    return BatchSize(max_size, initial_size)


def _is_out_of_memory(error: Exception) -> bool:
    """
    Return whether an error means that memory ran out.

    The allocators of CUDA's libraries, of MPS and of the CPU raise plain RuntimeErrors.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "can't allocate memory", "alloc_failed"))


def _release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
