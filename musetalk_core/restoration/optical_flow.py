"""Optical flow between two small pictures, and values of full size that are moved along it."""

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from musetalk_core.types import Float, Mask

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class FlowField:
    """
    The same places in another picture.

    Attributes:
        columns: (h, w) float32, column in the other picture for each pixel of the first.
        rows:    (h, w) float32, its row.
    """

    columns: Float
    rows: Float

    def move(self, values: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """Return values of the other picture at their places in the first one, (h, w) or (h, w, C)."""
        moved = cv2.remap(
            cast(Any, values), self.columns, self.rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(moved, values.dtype)

    def enlarged(self, width: int, height: int) -> "FlowField":
        """Return the field for pictures of another size."""
        return FlowField(
            _enlarged(self.columns, (width, height), 0), _enlarged(self.rows, (width, height), 1)
        )


class OpticalFlow:
    """Optical flow (DIS) with smoothing. Not thread-safe."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def between(self, first: Mask, other: Mask, sigma_px: float) -> FlowField:
        """
        Return where the places of one picture are in another.

        Args:
            first:    (h, w) uint8.
            other:    (h, w) uint8.
            sigma_px: smoothing of the flow.
        """
        flow = cv2.GaussianBlur(self._flow.calc(first, other, cast(Mask, None)), (0, 0), sigma_px)
        height, width = first.shape
        columns = flow[..., 0] + np.arange(width, dtype=np.float32)
        rows = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        return FlowField(np.asarray(columns, np.float32), np.asarray(rows, np.float32))


def _enlarged(positions: Float, size: tuple[int, int], axis: int) -> Float:
    """Scale positions along an axis (0: columns) to another size; centers of pixels are at whole numbers."""
    scale = size[axis] / positions.shape[1 - axis]
    grown = np.asarray(cv2.resize(positions, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return grown * np.float32(scale) + np.float32((scale - 1) / 2)
