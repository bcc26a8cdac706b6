"""
Detect the mark in sound: correlation of the changes of loudness per band with the pattern of a key.

The loudness of each band is compared with the times before and after and with the neighboring bands, which
removes most of the speech. Folding by the period of the pattern adds up its repetitions.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from musetalk_core.formats.pcm import Samples
from musetalk_core.imperceptible_mark.evidence import NO_EVIDENCE, Evidence, evidence_of, strongest
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.sound_pattern import (
    BANDS,
    HOPS_PER_S,
    HOPS_PER_SLOT,
    SLOTS,
    band_of_bins,
    signs,
)
from musetalk_core.types import SPEECH_RATE_HZ, Float

_STEPS_PER_HOP = 2
_STEP = SPEECH_RATE_HZ // HOPS_PER_S // _STEPS_PER_HOP
_WINDOW = 2 * _STEP * _STEPS_PER_HOP
_STEPS_PER_SLOT = HOPS_PER_SLOT * _STEPS_PER_HOP
_PERIOD_STEPS = SLOTS * _STEPS_PER_SLOT
_PART_S = 10
"""Length of the parts that are also tested alone: sound from several sources has several synchronizations."""
_FLOOR_DB = 65.0
"""Sound softer than the loudest of its part by more counts as silence."""
_LIMIT_DB = 2.0
_SILENCE = 1e-12


class SoundDetector:
    """Collects the features of a sound once, for any number of keys."""

    def __init__(self, samples: Samples) -> None:
        """Read 16 kHz mono sound. Memory use grows by 5 kB per second of it."""
        self._parts: list[Float] = []
        self._whole = np.zeros((_PERIOD_STEPS, BANDS), np.float32)
        part = _PART_S * SPEECH_RATE_HZ
        context = _STEP * 2 * _STEPS_PER_SLOT + _WINDOW
        for start in range(0, samples.count, part):
            stop = min(samples.count, start + part)
            features = _features(samples.read(start, min(samples.count, stop + context)))
            folded = _fold(features, start // _STEP)
            self._parts.append(folded)
            self._whole += folded

    def detect(self, key: MarkKey) -> Evidence:
        """Return the evidence for the mark of a key."""
        pattern = signs(key)
        tested = self._parts if len(self._parts) == 1 else [*self._parts, self._whole]
        scores = [score for one in tested if (score := _best_score(one, pattern)) is not None]
        return strongest(evidence_of(score, _PERIOD_STEPS) for score in scores) if scores else NO_EVIDENCE


def _features(samples: Float) -> Float:
    """Return (T, BANDS) float32: the deviation of each band from its surroundings in dB, limited."""
    loudness = _loudness(samples)
    slot, window = _STEPS_PER_SLOT, 3 * _STEPS_PER_SLOT
    if len(loudness) < window:
        return np.zeros((0, BANDS), np.float32)
    total = np.cumsum(np.pad(loudness, ((1, 0), (0, 0))), axis=0)
    means = (total[slot:] - total[:-slot]) / slot
    change = means[slot:-slot] - (means[: -2 * slot] + means[2 * slot :]) / 2
    change -= change.mean(axis=1, keepdims=True)
    change -= (np.roll(change, 1, axis=1) + np.roll(change, -1, axis=1)) / 4
    return np.clip(change, -_LIMIT_DB, _LIMIT_DB).astype(np.float32)


def _loudness(samples: Float) -> Float:
    """Return (T, BANDS) float32 in dB, one row per step."""
    if len(samples) < _WINDOW:
        return np.zeros((0, BANDS), np.float32)
    frames = sliding_window_view(samples, _WINDOW)[::_STEP] * np.hanning(_WINDOW).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)).astype(np.float32) ** 2
    bands = band_of_bins(_WINDOW, SPEECH_RATE_HZ)
    weights = np.stack([bands == band for band in range(BANDS)], axis=1).astype(np.float32)
    loudness = 10 * np.log10(power @ (weights / weights.sum(0)) + _SILENCE)
    return np.maximum(loudness, loudness.max() - _FLOOR_DB).astype(np.float32)


def _fold(features: Float, first_step: int) -> Float:
    """Add up features at the same step of the period: (T, BANDS) to (`_PERIOD_STEPS`, BANDS)."""
    before = first_step % _PERIOD_STEPS
    after = -(before + len(features)) % _PERIOD_STEPS
    padded = np.pad(features, ((before, after), (0, 0)))
    return padded.reshape(-1, _PERIOD_STEPS, BANDS).sum(0, dtype=np.float32)


def _best_score(folded: Float, pattern: Float) -> float | None:
    """Return the greatest score over all synchronizations; None if the sound has no energy."""
    best: float | None = None
    for phase in range(_STEPS_PER_SLOT):
        slots = folded[phase::_STEPS_PER_SLOT].astype(np.float64)
        energy = float((slots**2).sum())
        if energy <= _SILENCE:
            continue
        spectrum = np.fft.rfft(slots, axis=0) * np.fft.rfft(pattern, axis=0).conj()
        correlation = np.fft.irfft(spectrum.sum(axis=1), SLOTS)
        best = max(best or 0.0, float(correlation.max()) / energy**0.5)
    return best
