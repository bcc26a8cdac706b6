"""The table of a clip's frames: when each is shown and where decoding may start. It holds no pixels."""

import zipfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musetalk_core.arrays import load_arrays
from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.files import replacing
from musetalk_core.types import Ints

MAX_GROUP = 600
"""Frames that may have to be decoded to reach one; longer groups need a proxy."""
_FORMAT = 1
_UNEVENNESS = 4
"""Jitter of less than a frame divided by this still counts as a constant rate."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """
    Every frame of one clip, in the order shown. A still is a clip of one frame.

    Attributes:
        pts:           (T,) int64, strictly rising, in units of `time_base`, as the decoder gives them.
        keys:          (T,) bool, True where decoding may start; the first is always True.
        time_base:     seconds per unit.
        duration:      of the whole clip in units of `time_base`, the last frame's included.
        width, height: of the pictures, in pixels; even.
        rate:          frames per second to render at; the exact rate where `is_constant`.
        is_seekable:   False: reading backwards needs a proxy (`write_proxy`).
        is_still:      True: an image file.
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

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.pts)

    @property
    def duration_s(self) -> Fraction:
        """Length in seconds, the last frame's duration included."""
        return self.duration * self.time_base

    @property
    def is_constant(self) -> bool:
        """True where every frame lies within a quarter of a frame of an even grid at `rate`."""
        return not self.is_still and is_even(self.pts, self.time_base, self.rate)

    def group_start(self, index: int) -> int:
        """Return the last frame at or before `index` where decoding may start."""
        return int(np.flatnonzero(self.keys[: index + 1])[-1])

    def frame_at(self, time: Fraction) -> int:
        """Return the frame on screen at a time in seconds after the first frame; clipped to the clip."""
        return int(self.frames_at(np.array([time // self.time_base]))[0])

    def frames_at(self, ticks: Ints) -> Ints:
        """
        Find the frames on screen at many times.

        Args:
            ticks: (K,) int64, whole units of `time_base` after the first frame, rounded down.

        Returns:
            (K,) int64 in 0..T-1.
        """
        found = np.searchsorted(self.pts, ticks + self.pts[0], side="right") - 1
        return np.clip(found, 0, self.frames - 1)

    def save(self, path: Path) -> None:
        """
        Write about 8 bytes a frame as .npz; whole or not at all.

        Raises:
            DiskFull: there is no room.
        """
        numbers = [_FORMAT, self.frames, self.duration, self.width, self.height]
        fractions = [*self.time_base.as_integer_ratio(), *self.rate.as_integer_ratio()]
        flags = [self.is_seekable, self.is_still]
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                pts=self.pts,
                keys=np.packbits(self.keys),
                numbers=np.array([*numbers, *fractions, *flags], np.int64),
            )

    @classmethod
    def load(cls, path: Path) -> "VideoIndex":
        """
        Read what `save` wrote.

        Raises:
            MediaUnreadable: it is damaged or of another version.
        """
        try:
            file = load_arrays(path)
            pts, packed, numbers = file["pts"], file["keys"], file["numbers"].tolist()
            version, frames, duration, width, height, *rest = numbers
            base, rate, (seekable, still) = Fraction(*rest[:2]), Fraction(*rest[2:4]), rest[4:]
        except (ValueError, KeyError, OSError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise MediaUnreadable("The frame index is damaged; prepare the clip again.") from error
        if version != _FORMAT or len(pts) != frames:
            raise MediaUnreadable("The frame index is of another version; prepare the clip again.")
        keys = np.unpackbits(packed, count=frames).astype(bool)
        return cls(pts, keys, base, duration, width, height, rate, bool(seekable), bool(still))


def is_even(pts: Ints, time_base: Fraction, rate: Fraction) -> bool:
    """
    Tell whether timestamps lie within a quarter of a frame of an even grid.

    Args:
        pts:       (T,) int64.
        time_base: seconds per unit.
        rate:      frames per second of the grid, which starts at `pts[0]`.
    """
    step = 1 / (rate * time_base)  # units per frame
    numbers = np.arange(len(pts), dtype=np.int64)
    error = (pts - pts[0]) * step.denominator - numbers * step.numerator
    return bool((np.abs(error) * _UNEVENNESS < step.numerator).all())


def still_index(width: int, height: int, rate: Fraction) -> VideoIndex:
    """Build the index of a one-frame clip that lasts one frame."""
    base, one = 1 / rate, np.zeros(1, np.int64)
    return VideoIndex(one, np.ones(1, bool), base, 1, width, height, rate, True, True)
