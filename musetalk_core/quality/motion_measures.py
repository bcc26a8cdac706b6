"""Measures over time: flicker of the skin around the mouth, and its displacement against the source."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.quality.mouth_patch import PATCH_PX, PX_PER_H, MouthPatch, fill, ring
from musetalk_core.types import Float

_CELLS: Final = 16
_MIN_COVERAGE: Final = 0.5
"""Share of a cell that must be skin."""
_NEAR_H, _FAR_H = 0.04, 0.2
"""Distances from the lips between which the skin above the mouth is compared with the source's."""
_MATCH_SIGMA_PX, _MAX_SHIFT_PX, _STEPS = 2.0, 12.0, 6


class Flicker:
    """Second differences in time of the brightness that rendering adds. Takes a window's frames in order."""

    def __init__(self) -> None:
        self._last: list[Float] = []
        self._sum, self._count = 0.0, 0

    def start_window(self) -> None:
        """Forget the last frames: the next frame does not follow them."""
        self._last.clear()

    def add(self, patch: MouthPatch) -> None:
        """Measure the next frame."""
        skin = patch.skin.astype(np.float32)
        covered = _cell_means(skin)
        change = _cell_means((patch.output_luma - patch.source_luma) * skin) / np.maximum(covered, 1e-6)
        change[covered < _MIN_COVERAGE] = np.nan
        self._last.append(change.astype(np.float32))
        if len(self._last) == 3:
            before, now, after = self._last
            second = before - 2 * now + after
            second = second[~np.isnan(second)]
            if len(second):  # the median leaves out cells that the jaw moves through
                self._sum += float(np.median(np.abs(second))) ** 2
                self._count += 1
            del self._last[0]

    @property
    def rms(self) -> float | None:
        """Median over cells of 0.07 H, RMS over frames, in levels; None if nothing was measured."""
        return float(np.sqrt(self._sum / self._count)) if self._count else None


class Displacement:
    """Displacement of the skin above the mouth against the source, and its jitter."""

    def __init__(self) -> None:
        self._shifts: list[Float] = []
        self._second: list[float] = []
        self._last: list[Float] = []

    def start_window(self) -> None:
        """Forget the last frames: the next frame does not follow them."""
        self._last.clear()

    def add(self, patch: MouthPatch) -> None:
        """Measure the next frame."""
        shift = skin_shift(patch)
        if shift is None:
            self._last.clear()
            return
        self._shifts.append(shift)
        self._last.append(shift)
        if len(self._last) == 3:
            before, now, after = self._last
            self._second.append(float(((before - 2 * now + after) ** 2).sum()))
            del self._last[0]

    @property
    def offset(self) -> float | None:
        """Length of the median displacement in face heights; None if nothing was measured."""
        return float(np.hypot(*np.median(self._shifts, axis=0))) if self._shifts else None

    @property
    def jitter(self) -> float | None:
        """Root mean square of the second difference of the displacement, in face heights; None as above."""
        return float(np.sqrt(np.mean(self._second))) if self._second else None


def skin_shift(patch: MouthPatch) -> Float | None:
    """
    Return how far the skin above the mouth is displaced against the source.

    Least squares on brightness and its gradient (Lucas and Kanade), repeated while the source is moved to the
    result so far, with a free offset of brightness.

    Returns:
        (2,) float32 in face heights; None if the skin has too little texture.
    """
    lips = fill(patch.source_marks.lips) | fill(patch.output_marks.lips)
    mask = ring(lips, _NEAR_H * PX_PER_H, _FAR_H * PX_PER_H)
    # the lower face follows the jaw, so that only the part above the corners of the mouth can be compared
    mask[max(0, round(float(patch.source_marks.corners[:, 1].mean()))) :] = False
    source, output = (
        np.asarray(cv2.GaussianBlur(luma, (0, 0), _MATCH_SIGMA_PX), np.float32)
        for luma in (patch.source_luma, patch.output_luma)
    )
    shift = np.zeros(2, np.float32)
    for _ in range(_STEPS):
        moved = _move(source, shift)
        columns = [
            -cv2.Sobel(moved, cv2.CV_32F, *order, ksize=3, scale=1 / 8)[mask] for order in ((1, 0), (0, 1))
        ]
        equations = np.stack([*columns, np.ones_like(columns[0])], 1)
        normal = equations.T @ equations
        if np.linalg.eigvalsh(normal[:2, :2] / max(1, len(equations)))[0] < _MIN_TEXTURE:
            return None
        step = np.linalg.solve(normal, equations.T @ (output - moved)[mask])[:2]
        shift = np.clip(shift + step, -_MAX_SHIFT_PX, _MAX_SHIFT_PX).astype(np.float32)
        if float(np.abs(step).max()) < 0.01:
            break
    return (shift / PX_PER_H).astype(np.float32)


_MIN_TEXTURE: Final = 0.02
"""Least mean square of the gradient in its weakest direction, levels per pixel squared."""


def _move(picture: Float, shift: Float) -> Float:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    return np.asarray(
        cv2.warpAffine(picture, matrix, (PATCH_PX, PATCH_PX), borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _cell_means(picture: Float) -> Float:
    return np.asarray(cv2.resize(picture, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.float32)
