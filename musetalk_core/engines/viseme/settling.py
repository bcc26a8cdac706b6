"""Temporal smoothing of frame features within each shot, and the choice of its teeth reference."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.engines.viseme import record
from musetalk_core.types import Float, Ints

_POSE_S: Final = 0.5
"""Sigma for H and colors: they depend on head and light, not on the mouth."""
_YAW_S: Final = 0.2
_SEAM_S, _WINDOW_S = 0.12, 2.0
_SHARE: Final = 0.6
"""How far each frame's seam is moved towards the smoothed one; a larger share loses the expression."""
_ROWS: Final = 512
_FRONTAL_DEG, _GAP, _TEETH, _SHARP = 20.0, 0.018, 0.12, 0.6


def settled(records: Float, shots: Sequence[int], rate: Fraction) -> Float:
    """
    Smooth all features that should not jitter; never across a cut.

    Args:
        frame_features: (T, 33) float32; NaN where there is no face.
        shots:          shot number per frame, -1 where there is no face.
        rate:           source frames per second.

    Returns:
        (T, 33) float32; zeros where there is no face.
    """
    out = np.zeros_like(records, np.float32)
    for rows in _shots(shots).values():
        out[rows] = _settled_shot(records[rows], float(rate))
    return out


def _shots(shots: Sequence[int]) -> dict[int, Ints]:
    numbers = np.asarray(shots, np.int64)
    return {int(n): np.flatnonzero(numbers == n) for n in np.unique(numbers) if n >= 0}


def _settled_shot(rows: Float, rate: float) -> Float:
    out = rows.copy()
    out[:, record.HEIGHT] = _gauss(rows[:, [record.HEIGHT]], _POSE_S * rate)[:, 0]
    out[:, record.YAW] = _gauss(rows[:, [record.YAW]], _YAW_S * rate)[:, 0]
    for columns in (record.SKIN, record.LIP):
        out[:, columns] = _gauss(rows[:, columns], _POSE_S * rate)
    # The seam is in units of each frame's own H: rescale it to the smoothed H, so that its pixels stay.
    rescaled = rows[:, [record.HEIGHT]] / np.maximum(out[:, [record.HEIGHT]], 1e-6)
    seam = (rows[:, record.SEAM] * rescaled).astype(np.float32)
    usual = _gauss(_median(seam, round(_WINDOW_S * rate / 2)), _SEAM_S * rate)
    out[:, record.SEAM] = (1 - _SHARE) * seam + _SHARE * usual
    return out


def _gauss(rows: Float, sigma: float) -> Float:
    """Smooth (N, C) over the first axis with a Gaussian; the ends are repeated."""
    radius = min(int(3 * sigma) + 1, 4 * len(rows))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    weights /= weights.sum()
    padded = np.pad(rows.astype(np.float64), ((radius, radius), (0, 0)), mode="edge")
    columns = [np.convolve(column, weights, "valid") for column in padded.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _median(rows: Float, radius: int) -> Float:
    """Return the sliding median of (N, C) over 2 * radius + 1 rows, in blocks to bound memory."""
    radius = min(radius, len(rows) - 1)
    padded = np.pad(rows, ((radius, radius), (0, 0)), mode="reflect") if radius else rows
    out = np.empty_like(rows)
    for start in range(0, len(rows), _ROWS):
        block = padded[start : start + _ROWS + 2 * radius]
        windows = np.lib.stride_tricks.sliding_window_view(block, 2 * radius + 1, axis=0)
        out[start : start + len(windows)] = np.median(windows, axis=-1)
    return out


def donors(records: Float, shots: Sequence[int]) -> dict[int, int]:
    """
    Choose the frame of each shot that shows most teeth, sharp and frontal.

    Args:
        frame_features: (T, 33) float32, smoothed.
        shots:          shot number per frame, -1 where there is no face.

    Returns:
        Shot number -> frame index; shots without such a frame are left out.
    """
    chosen = {shot: _donor(records[rows]) for shot, rows in _shots(shots).items()}
    rows = _shots(shots)
    return {shot: int(rows[shot][at]) for shot, at in chosen.items() if at is not None}


def _donor(rows: Float) -> int | None:
    usable: npt.NDArray[np.bool_] = (
        (np.abs(rows[:, record.YAW]) < _FRONTAL_DEG)
        & (rows[:, record.GAP] > _GAP)
        & (rows[:, record.TEETH] > _TEETH)
    )
    if not usable.any():
        return None
    sharp = rows[:, record.SHARPNESS]
    usable &= sharp >= _SHARP * sharp[usable].max()
    return int(np.argmax(np.where(usable, rows[:, record.GAP] * rows[:, record.TEETH] * sharp, -1.0)))
