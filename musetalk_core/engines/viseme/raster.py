"""A rectangle of the crop sampled at some number of points; the same rule for pixels, grids and close-ups."""

from dataclasses import dataclass

import cv2
import numpy as np

from musetalk_core.engines.viseme.pose import Pose
from musetalk_core.types import Box, Float, Image


@dataclass(frozen=True, slots=True)
class Raster:
    """
    `columns` x `rows` cells over `area` (crop pixels); samples sit in the middle of their cells.

    That is OpenCV's own rule for resizing, so an array over one raster of an area resizes onto another.
    """

    area: Box
    columns: int
    rows: int

    def over(self, columns: int, rows: int) -> "Raster":
        """Give the same area at another density."""
        return Raster(self.area, columns, rows)

    def positions(self) -> tuple[Float, Float]:
        """(columns,) and (rows,) float32: crop pixels of the samples."""
        width, height = self.area.size
        x = (np.arange(self.columns, dtype=np.float32) + 0.5) * (width / self.columns) + (self.area.x1 - 0.5)
        y = (np.arange(self.rows, dtype=np.float32) + 0.5) * (height / self.rows) + (self.area.y1 - 0.5)
        return x.astype(np.float32), y.astype(np.float32)

    def local(self, pose: Pose) -> tuple[Float, Float]:
        """(rows, columns) float32 twice: x and y of the samples in face units."""
        x, y = self.positions()
        axes = pose.axes / np.float32(pose.height)
        x, y = x - pose.centre[0], y - pose.centre[1]
        return (
            np.add.outer(y * axes[0, 1], x * axes[0, 0]),
            np.add.outer(y * axes[1, 1], x * axes[1, 0]),
        )

    def cells(self, points: Float) -> Float:
        """Turn (N, 2) crop pixels into column and row numbers."""
        width, height = self.area.size
        scale = np.array([self.columns / width, self.rows / height], np.float32)
        return (points - (self.area.x1 - 0.5, self.area.y1 - 0.5)) * scale - 0.5


def sampled(picture: Image, places: Float, flags: int) -> Image:
    """
    Sample a picture; what lies outside repeats its border.

    Args:
        picture: (h, w, 3) uint8.
        places:  (rows, columns, 2) float32, x and y per sample.
        flags:   of OpenCV: interpolation, and whether places are relative.
    """
    out = cv2.remap(picture, places, None, flags, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]  its stub forgets that map2 is optional
    return np.asarray(out, np.uint8)
