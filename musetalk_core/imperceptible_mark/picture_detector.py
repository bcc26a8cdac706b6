"""
Detect the mark in pictures: phase correlation of their mean with the pattern of a key.

The mean over time removes what moves; the mark stays. Pictures at the size of the grid need one test. If that
fails, a search over shifts and scales finds the mark in cropped, mirrored or padded pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np

from musetalk_core.imperceptible_mark.evidence import NO_EVIDENCE, Evidence, evidence_of, strongest
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.picture_pattern import TILE, Complex, band, grid_size, spectrum
from musetalk_core.types import Float, Image

_CONTRAST_SIGMA: Final = 2.5
"""Grid units over which brightness and contrast are equalized."""
_CONTRAST_LIMIT: Final = 1.2
_CONTRAST_FLOOR: Final = 0.25
"""Variance that is added, so that flat areas do not become noise."""
SCALES: Final = tuple(float(s) for s in np.geomspace(0.75, 1.2, 119))
"""Scales of the search, 0.4 % apart: a crop by 20 % of both sides needs 0.8, borders of 10 % need 1.1."""
_SHIFTS: Final = TILE * TILE
_MIRRORED: Final = 2


class PictureMean:
    """The mean of pictures on the grid of the pattern."""

    def __init__(self) -> None:
        self._sum: Float | None = None
        self.count = 0
        """Number of pictures."""

    def add(self, luma: Image) -> None:
        """Add a luma plane, (H, W) uint8. A picture with another shape than the first is left out."""
        size = grid_size(luma.shape[1], luma.shape[0])
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._sum is None:
            self._sum = small
        elif self._sum.shape == small.shape:
            self._sum += small
        else:
            return
        self.count += 1

    def value(self) -> Float | None:
        """Return the mean, (h, w) float32 in grid units; None without pictures."""
        return None if self._sum is None else self._sum / np.float32(self.count)


def detect_in_pictures(means: Iterable[PictureMean], key: MarkKey) -> Evidence:
    """
    Return the evidence for a mark in pictures.

    Args:
        means: of the parts of a video, in order; each is tested alone, and all of them together.
        key:   the key of the mark.
    """
    values = [value for mean in means if (value := mean.value()) is not None]
    if not values:
        return NO_EVIDENCE
    parts = [_fold(_equalize(value)) for value in values]
    whole = sum(parts[1:], parts[0])
    tested = parts if len(parts) == 1 else [*parts, whole]
    aligned = strongest(evidence_of(_aligned_score(part, key), 1) for part in tested)
    if (without_search := strongest([aligned, NO_EVIDENCE])).found:
        return without_search
    same = [value for value in values if value.shape == values[0].shape]
    return strongest([aligned, _search(sum(same[1:], same[0]) / np.float32(len(same)), key)])


def _equalize(mean: Float) -> Float:
    """Return the picture without slow changes of brightness and with equal contrast everywhere."""
    detail = mean - cv2.GaussianBlur(mean, (0, 0), _CONTRAST_SIGMA)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CONTRAST_SIGMA) + _CONTRAST_FLOOR)
    return np.clip(detail / contrast, -_CONTRAST_LIMIT, _CONTRAST_LIMIT).astype(np.float32)


def _fold(picture: Float) -> Float:
    """Add up the periods of the pattern: (h, w) to (TILE, TILE)."""
    height, width = picture.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    padded = np.zeros((rows * TILE, columns * TILE), np.float32)
    padded[:height, :width] = picture
    return padded.reshape(rows, TILE, columns, TILE).sum((0, 2))


def _phases(folded: Float) -> Complex:
    """Return the spectrum of a tile with absolute value 1 in the band of the pattern, else 0."""
    values = np.fft.rfft2(folded)
    size = np.abs(values)
    return np.where(band() & (size > 0), values / np.maximum(size, 1e-20), 0).astype(np.complex64)


def _deviation() -> float:
    """Return the standard deviation of a sum of cosines of random angles, one per frequency."""
    return math.sqrt(int(band().sum()) / 2)


def _aligned_score(folded: Float, key: MarkKey) -> float:
    return float((_phases(folded) * spectrum(key).conj()).real.sum()) / _deviation()


def _search(mean: Float, key: MarkKey) -> Evidence:
    """Return the evidence of the best shift, scale and orientation."""
    picture = _equalize(mean)
    direct = spectrum(key).conj()
    best = -math.inf
    for scale in SCALES:
        phases = _phases(_fold(_resize(picture, scale)))
        # Mirroring a picture from left to right conjugates the phases of its columns' spectrum.
        for product in (phases * direct, _mirrored(phases) * direct):
            correlation = np.fft.irfft2(product, (TILE, TILE))
            best = max(best, float(correlation.max()))
    return evidence_of(best * _SHIFTS / 2 / _deviation(), _SHIFTS * len(SCALES) * _MIRRORED)


def _resize(picture: Float, scale: float) -> Float:
    height, width = picture.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.float32)


def _mirrored(phases: Complex) -> Complex:
    """Return the spectrum of the tile mirrored from left to right: f(-x, y) has F(-u, v) = conj(F(u, -v))."""
    return np.roll(phases[::-1], 1, axis=0).conj()
