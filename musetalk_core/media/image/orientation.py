"""Frame geometry: rotation and mirroring from display matrices, pixel aspect ratio, even sides."""

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from musetalk_core.types import Image

_SQUARE_TOLERANCE = Fraction(1, 200)


@dataclass(frozen=True, slots=True)
class Orientation:
    """A rotation by 90-degree steps and mirroring: transpose, then flip left-right, then flip up-down."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_matrix(cls, matrix: bytes) -> "Orientation":
        """
        Return the orientation that an FFmpeg display matrix describes.

        Args:
            matrix: nine native int32 a b u c d v x y w; a stored point (x, y) is shown at (ax + cy, bx + dy).
        """
        a, b, _, c, d = np.frombuffer(matrix, np.int32, 5).tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @property
    def clockwise_degrees(self) -> int:
        """Clockwise rotation in degrees: 0, 90, 180 or 270. Mirroring alone is 0."""
        if self.transpose:
            return 90 if self.flip_x else 270
        return 180 if self.flip_y else 0

    def apply(self, plane: Image) -> Image:
        """Orient an (h, w) uint8 plane or (h, w, C) image; returns the input itself if nothing changes."""
        if self.transpose:
            plane = np.asarray(cv2.transpose(plane), np.uint8)
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            plane = np.asarray(cv2.flip(plane, code), np.uint8)
        return plane

    def oriented_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height after the rotation."""
        return (height, width) if self.transpose else (width, height)


def square_pixel_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """
    Return width and height with square pixels, enlarging one side so that no detail is lost.

    Args:
        width:  stored pixels.
        height: stored pixels.
        aspect: pixel aspect ratio, width over height of one stored pixel; None or 0 = square. A deviation of
            up to 0.5 % counts as square.
    """
    if not aspect or aspect < 0 or abs(aspect - 1) <= _SQUARE_TOLERANCE:
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def even_size(width: int, height: int) -> tuple[int, int]:
    """Return both sides rounded up to even, as 4:2:0 requires."""
    return (width + 1) & ~1, (height + 1) & ~1
