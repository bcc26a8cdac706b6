"""
Temporal stabilization of a correction: a running mean that follows the motion of the face.

A restoration network invents detail anew for each frame, which flickers. The mean over the last frames,
moved along the optical flow, keeps what the frames have in common. Where the picture changes in a way that
motion does not explain (an opening mouth, a cut), the mean starts anew.
"""

from typing import Final

import cv2
import numpy as np

from musetalk_core.restoration.optical_flow import OpticalFlow
from musetalk_core.types import Float, Image, Mask

_MEMORY: Final = 0.88
"""Weight of the mean so far: about eight frames count."""
_FLOW_SIDE_PX: Final = 128
_FLOW_SIGMA_PX: Final = 3.0
_TOLERANCE_LEVELS: Final = 9.0
"""Difference to the moved last picture, in levels of 255, at which the mean's weight is 1/e of `_MEMORY`."""


class TemporalStabilizer:
    """The running mean of the corrections of consecutive aligned faces."""

    def __init__(self) -> None:
        self._flow = OpticalFlow()
        self._last: tuple[Mask, Float] | None = None

    def update(self, aligned: Image, correction: Float) -> Float:
        """
        Return the stabilized correction of the next frame.

        Args:
            aligned:    (n, n, 3) uint8 BGR, the aligned face that is corrected.
            correction: (n, n, 3) float32, what is to be added to it, in levels of 255.

        Returns:
            (n, n, 3) float32.
        """
        side = min(_FLOW_SIDE_PX, len(aligned))
        small = np.asarray(
            cv2.cvtColor(cv2.resize(aligned, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY),
            np.uint8,
        )
        mean = correction
        if self._last is not None:
            moved, weight = self._moved_mean(*self._last, small, len(aligned))
            mean = np.asarray(weight * moved + (1 - weight) * correction, np.float32)
        self._last = small, mean
        return mean

    def _moved_mean(self, last: Mask, mean: Float, small: Mask, size: int) -> tuple[Float, Float]:
        """Return the mean at its place in the new picture, (n, n, 3), and its weight, (n, n, 1)."""
        field = self._flow.between(small, last, _FLOW_SIGMA_PX)
        difference = cv2.absdiff(small, field.move(last))
        difference = cv2.dilate(difference, np.ones((3, 3), np.uint8)).astype(np.float32)
        weight = _MEMORY * np.exp(-np.square(cv2.GaussianBlur(difference, (0, 0), 1.0) / _TOLERANCE_LEVELS))
        full_weight = cv2.resize(weight.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
        return field.enlarged(size, size).move(mean), np.asarray(full_weight, np.float32)[..., None]
