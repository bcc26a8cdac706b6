"""
Shared types: array aliases, sample rates and the pixel rectangle `Box`.

Axis letters in all docstrings:
    B batch   T video frames   H W image   h w crop   C channels   K landmarks
    S audio samples   D feature size
Color images are (H, W, 3) uint8 BGR. Between decoder and encoder a frame is a `Picture` (8-bit 4:2:0,
BT.709). Boxes are integer pixels, xyxy, half-open: `frame[y1:y2, x1:x2]`. Frame rates are
`fractions.Fraction`, never floats.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SPEECH_RATE_HZ = 16_000
"""Sample rate of the speech that engines take: mono float32."""

VOICE_RATE_HZ = 24_000
"""Sample rate of synthesized speech: mono."""


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open pixel rectangle, xyxy."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; never negative."""
        return max(0, self.x2 - self.x1), max(0, self.y2 - self.y1)

    @property
    def is_empty(self) -> bool:
        """True if the box contains no pixel."""
        return 0 in self.size

    def slices(self) -> tuple[slice, slice]:
        """Return the (rows, columns) slices of the box, for `frame[box.slices()]`."""
        return slice(self.y1, self.y2), slice(self.x1, self.x2)

    def clip(self, width: int, height: int) -> "Box":
        """Return the part of the box inside a picture of this size; may be empty."""
        return Box(
            min(max(self.x1, 0), width),
            min(max(self.y1, 0), height),
            min(max(self.x2, 0), width),
            min(max(self.y2, 0), height),
        )

    def expand(self, pixels: int) -> "Box":
        """Return the box enlarged by `pixels` on every side; it may extend beyond the picture."""
        return Box(self.x1 - pixels, self.y1 - pixels, self.x2 + pixels, self.y2 + pixels)

    def align_even(self) -> "Box":
        """Return the box enlarged to even coordinates, so that it covers whole 4:2:0 chroma samples."""
        return Box(self.x1 & ~1, self.y1 & ~1, (self.x2 + 1) & ~1, (self.y2 + 1) & ~1)

    def intersection(self, other: "Box") -> "Box":
        """Return the overlap of both boxes; may be empty."""
        return Box(
            max(self.x1, other.x1), max(self.y1, other.y1), min(self.x2, other.x2), min(self.y2, other.y2)
        )

    def relative_to(self, area: "Box") -> "Box":
        """Return the box in the coordinates of `area`, whose top left corner becomes (0, 0)."""
        return Box(self.x1 - area.x1, self.y1 - area.y1, self.x2 - area.x1, self.y2 - area.y1)

    def contains(self, other: "Box") -> bool:
        """Return whether `other` lies completely inside this box."""
        return self.x1 <= other.x1 and self.y1 <= other.y1 and self.x2 >= other.x2 and self.y2 >= other.y2
