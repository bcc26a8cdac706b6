"""Temporal smoothing of frame features within each shot, and the choice of its teeth reference."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.engines.viseme import frame_record
from musetalk_core.types import Float, Ints

_HEAD_SIGMA_S: Final = 0.5
"""Sigma for H and colors: they depend on head and light, not on the mouth."""
_YAW_SIGMA_S: Final = 0.2
_SEAM_SIGMA_S, _SEAM_MEDIAN_WINDOW_S = 0.12, 2.0
_SEAM_SMOOTHING_SHARE: Final = 0.6
"""How far each frame's seam is moved towards the smoothed one; a larger share loses the expression."""
_MEDIAN_BLOCK_ROWS: Final = 512
_FRONTAL_PREFERENCE: Final = 6
_MAX_YAW_DEG, _MIN_GAP, _MIN_TEETH_SHARE, _MIN_RELATIVE_SHARPNESS = 35.0, 0.018, 0.12, 0.6


def smooth_records(frame_features: Float, shots: Sequence[int], rate: Fraction) -> Float:
    """
    Smooth all features that should not jitter; never across a cut.

    Args:
        frame_features: (T, 34) float32; NaN where there is no face.
        shots:          shot number per frame, -1 where there is no face.
        rate:           source frames per second.

    Returns:
        (T, 34) float32; zeros where there is no face.
    """
    out = np.zeros_like(frame_features, np.float32)
    for rows in _rows_by_shot(shots).values():
        out[rows] = _smooth_shot(frame_features[rows], float(rate))
    return out


def _rows_by_shot(shots: Sequence[int]) -> dict[int, Ints]:
    shot_numbers = np.asarray(shots, np.int64)
    return {int(n): np.flatnonzero(shot_numbers == n) for n in np.unique(shot_numbers) if n >= 0}


def _smooth_shot(rows: Float, rate: float) -> Float:
    out = rows.copy()
    out[:, frame_record.HEIGHT] = _gaussian_smooth(rows[:, [frame_record.HEIGHT]], _HEAD_SIGMA_S * rate)[:, 0]
    out[:, frame_record.YAW] = _gaussian_smooth(rows[:, [frame_record.YAW]], _YAW_SIGMA_S * rate)[:, 0]
    for columns in (frame_record.SKIN, frame_record.LIP, [frame_record.GRAIN]):
        out[:, columns] = _gaussian_smooth(rows[:, columns], _HEAD_SIGMA_S * rate)
    # The seam is in units of each frame's own H: rescale it to the smoothed H, so that its pixels stay.
    height_ratio = rows[:, [frame_record.HEIGHT]] / np.maximum(out[:, [frame_record.HEIGHT]], 1e-6)
    seam = (rows[:, frame_record.SEAM] * height_ratio).astype(np.float32)
    smoothed_seam = _gaussian_smooth(
        _sliding_median(seam, round(_SEAM_MEDIAN_WINDOW_S * rate / 2)), _SEAM_SIGMA_S * rate
    )
    out[:, frame_record.SEAM] = (1 - _SEAM_SMOOTHING_SHARE) * seam + _SEAM_SMOOTHING_SHARE * smoothed_seam
    return out


def _gaussian_smooth(rows: Float, sigma: float) -> Float:
    """Smooth (N, C) over the first axis with a Gaussian; the ends are repeated."""
    radius = min(int(3 * sigma) + 1, 4 * len(rows))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    weights /= weights.sum()
    padded = np.pad(rows.astype(np.float64), ((radius, radius), (0, 0)), mode="edge")
    columns = [np.convolve(column, weights, "valid") for column in padded.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _sliding_median(rows: Float, radius: int) -> Float:
    """Return the sliding median of (N, C) over 2 * radius + 1 rows, in blocks to bound memory."""
    radius = min(radius, len(rows) - 1)
    padded = np.pad(rows, ((radius, radius), (0, 0)), mode="reflect") if radius else rows
    out = np.empty_like(rows)
    for start in range(0, len(rows), _MEDIAN_BLOCK_ROWS):
        block = padded[start : start + _MEDIAN_BLOCK_ROWS + 2 * radius]
        windows = np.lib.stride_tricks.sliding_window_view(block, 2 * radius + 1, axis=0)
        out[start : start + len(windows)] = np.median(windows, axis=-1)
    return out


def choose_teeth_references(frame_features: Float, shots: Sequence[int]) -> dict[int, int]:
    """
    Choose the frame of each shot that shows most teeth, sharp and frontal.

    Args:
        frame_features: (T, 34) float32, smoothed.
        shots:          shot number per frame, -1 where there is no face.

    Returns:
        Shot number -> frame index; shots without such a frame are left out.
    """
    best_rows = {shot: _best_teeth_row(frame_features[rows]) for shot, rows in _rows_by_shot(shots).items()}
    rows = _rows_by_shot(shots)
    return {shot: int(rows[shot][at]) for shot, at in best_rows.items() if at is not None}


def _best_teeth_row(rows: Float) -> int | None:
    usable: npt.NDArray[np.bool_] = (
        (np.abs(rows[:, frame_record.YAW]) < _MAX_YAW_DEG)
        & (rows[:, frame_record.GAP] > _MIN_GAP)
        & (rows[:, frame_record.TEETH] > _MIN_TEETH_SHARE)
    )
    if not usable.any():
        return None
    sharp = rows[:, frame_record.SHARPNESS]
    usable &= sharp >= _MIN_RELATIVE_SHARPNESS * sharp[usable].max()
    frontal = np.cos(np.radians(rows[:, frame_record.YAW])) ** _FRONTAL_PREFERENCE
    worth = rows[:, frame_record.GAP] * rows[:, frame_record.TEETH] * sharp * frontal
    return int(np.argmax(np.where(usable, worth, -1.0)))
