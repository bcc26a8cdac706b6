"""
Speech as engines read it: 16 kHz mono float32 with random access, in a file or in memory.

Also the number of Whisper encoder rows (50 per second) for a number of samples.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from musetalk_core.types import SPEECH_RATE_HZ, Float

ROWS_PER_S: Final = 50
SAMPLES_PER_ROW: Final = SPEECH_RATE_HZ // ROWS_PER_S


def row_count(samples: int) -> int:
    """Return L, the number of encoder rows for S samples at 16 kHz: exactly floor(S * 50 / 16000)."""
    return samples // SAMPLES_PER_ROW


class Samples(Protocol):
    """Random access to mono float32 speech at `SPEECH_RATE_HZ` that may be larger than memory."""

    @property
    def count(self) -> int:
        """Number of samples S."""
        ...

    def read(self, start: int, stop: int) -> Float:
        """Return (stop - start,) float32 in -1..1; zeros outside 0..count."""
        ...


def _pad_to_range(inside: Float, start: int, stop: int, count: int) -> Float:
    before, after = max(0, min(-start, stop - start)), max(0, min(stop - count, stop - start))
    return np.pad(inside, (before, after)) if before or after else inside


@dataclass(frozen=True, slots=True)
class PcmFile:
    """Speech in a headerless little-endian float32 file; `read` loads only the requested range."""

    path: Path

    @property
    def count(self) -> int:
        """Number of samples S."""
        return self.path.stat().st_size // 4

    def read(self, start: int, stop: int) -> Float:
        """Return (stop - start,) float32; zeros outside the file."""
        first, last = min(max(start, 0), self.count), min(max(stop, 0), self.count)
        inside = np.fromfile(self.path, "<f4", max(0, last - first), offset=first * 4)
        return _pad_to_range(inside.astype(np.float32, copy=False), start, stop, self.count)


@dataclass(frozen=True, slots=True)
class PcmSilence:
    """Silence of a given length, without memory for it."""

    count: int
    """Number of samples S."""

    def read(self, start: int, stop: int) -> Float:
        """Return (stop - start,) float32 zeros."""
        return np.zeros(stop - start, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class PcmArray:
    """Speech in an array in memory, for short clips and tests."""

    samples: Float
    """(S,) float32."""

    @property
    def count(self) -> int:
        """Number of samples S."""
        return len(self.samples)

    def read(self, start: int, stop: int) -> Float:
        """Return (stop - start,) float32; zeros outside the array."""
        first, last = min(max(start, 0), self.count), min(max(stop, 0), self.count)
        return _pad_to_range(self.samples[first : max(first, last)], start, stop, self.count)


def duration_seconds(samples: Samples) -> float:
    """Return the length of speech in seconds."""
    return samples.count / SPEECH_RATE_HZ
