"""Frame index of a clip: presentation timestamp of every frame, key frames, size and frame rate."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import MediaUnreadable
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.formats.npz import load_arrays
from musetalk_core.types import Ints

MAX_GROUP_FRAMES = 600
"""Longest group of pictures, in frames, that is decoded to reach one frame; longer groups need a proxy."""
_FORMAT_VERSION = 2
_MAX_JITTER_DIVISOR = 4
"""Timestamp jitter of less than one frame divided by this counts as a constant rate."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """
    The frames of one clip in display order. A still is a clip of one frame.

    Attributes:
        pts:           (T,) int64 presentation timestamps, strictly rising, in units of `time_base`.
        keys:          (T,) bool, True for key frames, at which decoding may start; the first is always True.
        time_base:     seconds per unit.
        duration:      of the whole clip in units of `time_base`, including the last frame's duration.
        width, height: of the frames in pixels; even.
        rate:          frames per second to render at; the exact rate if `is_constant`.
        is_seekable:   if False, reading backwards requires a proxy (`write_proxy`).
        is_still:      the source is an image.
        lead:          from the start of the file to the first frame, in units of `time_base`: picture that
            starts after the sound. The first frame is shown from the start.
    """

    pts: Ints
    keys: Bools
    time_base: Fraction
    duration: int
    width: int
    height: int
    rate: Fraction
    is_seekable: bool
    is_still: bool
    lead: int = 0

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.pts)

    @property
    def duration_s(self) -> Fraction:
        """Duration in seconds, including the last frame's duration."""
        return self.duration * self.time_base

    @property
    def span(self) -> int:
        """From the start of the file to the end of the last frame, in units of `time_base`."""
        return self.lead + self.duration

    @property
    def is_constant(self) -> bool:
        """True if the clip has no lead and every timestamp is near a constant grid of `rate`."""
        is_simple = not self.is_still and not self.lead
        return is_simple and has_constant_rate(self.pts, self.time_base, self.rate)

    def group_start(self, index: int) -> int:
        """Return the number of the last key frame at or before frame `index`."""
        return int(np.flatnonzero(self.keys[: index + 1])[-1])

    def frame_at(self, time: Fraction) -> int:
        """Return the frame shown at a time in seconds after the start of the file, clipped to 0..T-1."""
        return int(self.frames_at(np.array([time // self.time_base]))[0])

    def frames_at(self, ticks: Ints) -> Ints:
        """
        Return the frames shown at many times.

        Args:
            ticks: (K,) int64, times after the start of the file in units of `time_base`, rounded down.

        Returns:
            (K,) int64 in 0..T-1.
        """
        frames = np.searchsorted(self.pts, ticks + (self.pts[0] - self.lead), side="right") - 1
        return np.clip(frames, 0, self.frames - 1)

    def save(self, path: Path) -> None:
        """
        Write the index as .npz, about 8 bytes per frame; written atomically.

        Raises:
            DiskFull: the disk is full.
        """
        numbers = [_FORMAT_VERSION, self.frames, self.duration, self.width, self.height]
        fractions = [*self.time_base.as_integer_ratio(), *self.rate.as_integer_ratio()]
        flags = [self.is_seekable, self.is_still, self.lead]
        with replace_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                pts=self.pts,
                keys=np.packbits(self.keys),
                numbers=np.array([*numbers, *fractions, *flags], np.int64),
            )

    @classmethod
    def load(cls, path: Path) -> "VideoIndex":
        """
        Load an index written by `save`.

        Raises:
            MediaUnreadable: the file is damaged or of another format version.
        """
        try:
            file = load_arrays(path)
            pts, packed, numbers = file["pts"], file["keys"], file["numbers"].tolist()
            version, frames, duration, width, height, *rest = numbers
            base, rate, (seekable, still, lead) = Fraction(*rest[:2]), Fraction(*rest[2:4]), rest[4:]
        except (ValueError, KeyError, OSError, TypeError) as error:
            raise MediaUnreadable("The frame index is damaged; prepare the clip again.") from error
        if version != _FORMAT_VERSION or len(pts) != frames:
            raise MediaUnreadable("The frame index is of another version; prepare the clip again.")
        keys = np.unpackbits(packed, count=frames).astype(bool)
        return cls(pts, keys, base, duration, width, height, rate, bool(seekable), bool(still), lead)


def has_constant_rate(pts: Ints, time_base: Fraction, rate: Fraction) -> bool:
    """
    Return whether all timestamps are less than a quarter of a frame off a constant-rate grid.

    Args:
        pts:       (T,) int64 timestamps in units of `time_base`.
        time_base: seconds per unit.
        rate:      frames per second of the grid, which starts at `pts[0]`.
    """
    step = 1 / (rate * time_base)  # units per frame
    numbers = np.arange(len(pts), dtype=np.int64)
    error = (pts - pts[0]) * step.denominator - numbers * step.numerator
    return bool((np.abs(error) * _MAX_JITTER_DIVISOR < step.numerator).all())


def still_index(width: int, height: int, rate: Fraction) -> VideoIndex:
    """Return the index of a still: a clip of one frame that lasts 1 / `rate` seconds."""
    base, one = 1 / rate, np.zeros(1, np.int64)
    return VideoIndex(one, np.ones(1, bool), base, 1, width, height, rate, True, True)
