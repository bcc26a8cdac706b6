"""One output frame and the source frame below it, with the pixels that the renderer may change."""

from dataclasses import dataclass, field
from typing import Final, Self

import cv2
import numpy as np

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Float, Mask

_MASK_MIDDLE: Final = 128
"""Level of a blend mask at which its border is: half of either picture."""
_MIN_BORDER_POINTS: Final = 16


def _no_points() -> Float:
    return np.zeros((0, 2), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ChangedRegion:
    """
    The part of a frame that a renderer may change.

    Attributes:
        box:     contains all changed pixels, clipped to the picture.
        border:  (N, 2) float32, points about one pixel apart on the border between rendered and source
            pixels, in order, in pixels of the frame; without the parts on the picture's edge.
        outward: (N, 2) float32, unit vectors at these points, away from the rendered pixels.
    """

    box: Box
    border: Float = field(default_factory=_no_points)
    outward: Float = field(default_factory=_no_points)

    @classmethod
    def from_box(cls, box: Box, width: int, height: int) -> Self:
        """Return the region of a crop that is pasted as a rectangle into a picture of this size."""
        inside = box.clip(width, height)
        columns = np.arange(inside.x1, inside.x2).astype(np.float32)
        rows = np.arange(inside.y1, inside.y2).astype(np.float32)
        sides = (
            (inside.y1 > 0, columns, inside.y1 - 0.5, 0, (0, -1)),
            (inside.y2 < height, columns, inside.y2 - 0.5, 0, (0, 1)),
            (inside.x1 > 0, rows, inside.x1 - 0.5, 1, (-1, 0)),
            (inside.x2 < width, rows, inside.x2 - 0.5, 1, (1, 0)),
        )
        border, outward = [_no_points()], [_no_points()]
        for is_inner, along, across, axis, normal in sides:
            if is_inner:
                points = np.empty((len(along), 2), np.float32)
                points[:, axis], points[:, 1 - axis] = along, across
                border.append(points)
                outward.append(np.tile(np.array(normal, np.float32), (len(along), 1)))
        return cls(inside, np.concatenate(border), np.concatenate(outward))

    @classmethod
    def from_mask(cls, mask: Mask, area: Box, width: int, height: int) -> Self:
        """
        Return the region of a blend mask: its border is where both pictures have equal weight.

        Args:
            mask:   (h, w) uint8, 255 = rendered.
            area:   position of the mask; may extend beyond the picture.
            width:  of the picture in pixels.
            height: of the picture in pixels.
        """
        shown = np.pad(np.asarray(mask >= _MASK_MIDDLE, np.uint8), 1)
        contours, _ = cv2.findContours(shown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        border, outward = [_no_points()], [_no_points()]
        for contour in contours:
            points = contour.reshape(-1, 2).astype(np.float32) + np.array(
                [area.x1 - 1, area.y1 - 1], np.float32
            )
            if len(points) < _MIN_BORDER_POINTS:
                continue
            # OpenCV lists outer contours counterclockwise on screen, so the outside is to the right
            tangent = np.roll(points, -4, 0) - np.roll(points, 4, 0)
            tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
            normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
            x, y = points.T
            is_inner = (x > 1) & (y > 1) & (x < width - 2) & (y < height - 2)
            border.append(points[is_inner])
            outward.append(normal[is_inner].astype(np.float32))
        return cls(area.clip(width, height), np.concatenate(border), np.concatenate(outward))


@dataclass(frozen=True, slots=True, eq=False)
class FramePair:
    """
    An output frame and its source.

    Attributes:
        index:     number of the output frame.
        source:    the frame as it would be without the rendered mouth: with idle motion and labels, if any.
        output:    the frame as it is shown, decoded again if it was encoded.
        region:    what the renderer may change.
        landmarks: (468, 2) float32, approximate mesh in the source frame; None = detect the largest face.
    """

    index: int
    source: Picture
    output: Picture
    region: ChangedRegion
    landmarks: Float | None = None
