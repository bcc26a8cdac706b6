"""
Mouth curves: phones with times, or the energy of the speech, to opening, width and closure per video frame.

Curves are computed on a grid of 5 ms, with coarticulation, and averaged into frames.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import InputError
from musetalk_core.formats.pcm import Samples
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.visemes import NUCLEUS_SHARE, SILENCE, to_arpabet, visemes_of
from musetalk_core.types import SPEECH_RATE_HZ, Float

GRID_HZ: Final = 200
"""Rate of the grid on which curves are computed before they are averaged into frames: one value per 5 ms."""

_GRID_STEP_SAMPLES: Final = SPEECH_RATE_HZ // GRID_HZ
"""Samples per grid step: 80."""
_BLOCK_STEPS: Final = 60 * GRID_HZ
_MOUTH_LEAD_S: Final = 0.02
"""The mouth moves this long before the sound."""
_OPEN_SIGMA_S, _WIDTH_SIGMA_S, _LOUDNESS_SIGMA_S = 0.030, 0.060, 0.040
_LOUD_PERCENTILE: Final = 92
_MIN_LOUD_RMS: Final = 1e-3  # -60 dBFS: lower bound of the reference loudness
_MIN_OPEN_SHARE: Final = 0.65
"""Share of its opening that a vowel keeps at zero loudness, as when whispered."""
_MIN_CLOSURE_S, _CLOSURE_RAMP_S = 0.060, 0.060
_MIN_SILENCE_S, _SILENCE_MARGIN_S = 0.16, 0.07
_SHUT_THRESHOLD, _MIN_SHUT_SHARE = 0.95, 0.3
"""A frame is shut when the closure exceeds the first value in more than this share of its grid steps."""
_MAX_OPEN_PER_S: Final = 10.0
"""Largest change of the opening per second: 0.4 per frame at 25 frames/s."""
_PAUSE_LEVEL: Final = 0.22
"""Energy mode: a level below this share of loud speech (square root of the RMS) is a pause."""
_MAX_ENERGY_OPEN: Final = 0.8

Curve = npt.NDArray[np.float32]
Pulse = tuple[float, float, float]
"""Start and end in seconds, and height 0..1."""


def mouth_curves(
    samples: Samples | None, phones: Sequence[Phone] | None, frames: int, rate: Fraction
) -> Float:
    """
    Compute the mouth curves of a speech, one row per video frame.

    Memory grows by about 100 bytes per 5 ms of speech (70 MB per hour).

    Args:
        samples: 16 kHz mono speech, for its loudness; None ignores loudness.
        phones:  the phones in order; if empty or None, the opening follows the energy alone.
        frames:  T, number of video frames.
        rate:    video frames per second.

    Returns:
        (T, 3) float32: opening 0..1, width -1 (rounded) .. +1 (spread), closure 0..1.

    Raises:
        InputError: the frame count is negative or the rate is not positive.
    """
    if frames < 0 or rate <= 0:
        raise InputError("The frame count and the frame rate must be positive.", frames=frames)
    if not frames:
        return np.zeros((0, 3), np.float32)
    steps = int(-(-frames * GRID_HZ * rate.denominator // rate.numerator)) + 1
    rms = _rms_on_grid(samples, steps) if samples is not None else None
    grid = _curves_from_phones(phones, steps, rms) if phones else _curves_from_energy(rms, steps)
    return _to_frames(*grid, frames, rate)


def _curves_from_phones(phones: Sequence[Phone], steps: int, rms: Curve | None) -> tuple[Curve, Curve, Curve]:
    """Return (steps,) opening, width and closure on the grid."""
    targets, closures, pauses = _targets_on_grid(phones, steps)
    opening, width, dominance = targets
    opening = _smooth_by_dominance(opening, dominance, _OPEN_SIGMA_S)
    width = _smooth_by_dominance(width, dominance, _WIDTH_SIGMA_S)
    if rms is not None:
        opening *= _MIN_OPEN_SHARE + (1 - _MIN_OPEN_SHARE) * _loudness(rms, _speech_mask(phones, steps))
    closure = _pulses(closures, steps, _MIN_CLOSURE_S, _CLOSURE_RAMP_S)
    opening *= (1 - closure) * (1 - _pulses(pauses, steps, 0.0, _SILENCE_MARGIN_S))
    return opening, width, closure


def _targets_on_grid(phones: Sequence[Phone], steps: int) -> tuple[Curve, list[Pulse], list[Pulse]]:
    """Return (3, steps) targets (opening, width, dominance), the closures of the lips and the pauses."""
    out = np.zeros((3, steps), np.float32)
    out[2] = visemes_of(SILENCE)[0].dominance
    closures: list[Pulse] = []
    pauses: list[Pulse] = []
    for phone in phones:
        start, end = phone.start_s - _MOUTH_LEAD_S, phone.end_s - _MOUTH_LEAD_S
        shapes = visemes_of(phone.name)
        glide = start + NUCLEUS_SHARE * (end - start)
        spans = [(start, end)] if len(shapes) == 1 else [(start, glide), (glide, end)]
        for shape, (shape_start, shape_end) in zip(shapes, spans, strict=True):
            first, last = max(0, round(shape_start * GRID_HZ)), max(0, round(shape_end * GRID_HZ))
            out[:, first:last] = np.array([[shape.open], [shape.width], [shape.dominance]])
            if shape.closure:
                closures.append((shape_start, shape_end, shape.closure))
        if to_arpabet(phone.name) == SILENCE and end - start > _MIN_SILENCE_S:
            pauses.append((start + _SILENCE_MARGIN_S, end - _SILENCE_MARGIN_S, 1.0))
    return out, closures, pauses


def _speech_mask(phones: Sequence[Phone], steps: int) -> npt.NDArray[np.bool_]:
    out = np.zeros(steps, np.bool_)
    for phone in phones:
        if to_arpabet(phone.name) != SILENCE:
            out[max(0, round(phone.start_s * GRID_HZ)) : max(0, round(phone.end_s * GRID_HZ))] = True
    return out


def _smooth(curve: Curve, sigma_s: float) -> Curve:
    sigma = sigma_s * GRID_HZ
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (kernel / kernel.sum()).astype(np.float32)
    return np.convolve(np.pad(curve, reach, mode="edge"), weights, "valid").astype(np.float32, copy=False)


def _smooth_by_dominance(target: Curve, dominance: Curve, sigma_s: float) -> Curve:
    """Smooth targets weighted by dominance: dominant phones shape their neighbors (coarticulation)."""
    weight: Curve = np.maximum(_smooth(dominance, sigma_s), np.float32(1e-6))
    return (_smooth(target * dominance, sigma_s) / weight).astype(np.float32, copy=False)


def _rms_on_grid(samples: Samples, steps: int) -> Curve:
    """Return (steps,) RMS of every 5 ms; the speech is read one minute at a time."""
    return np.concatenate(list(_rms_blocks(samples, steps)))


def _rms_blocks(samples: Samples, steps: int) -> Iterator[Curve]:
    for first in range(0, steps, _BLOCK_STEPS):
        last = min(first + _BLOCK_STEPS, steps)
        block = samples.read(first * _GRID_STEP_SAMPLES, last * _GRID_STEP_SAMPLES).reshape(
            -1, _GRID_STEP_SAMPLES
        )
        # the epsilon keeps digital silence above 0
        yield np.sqrt(np.einsum("ij,ij->i", block, block) / _GRID_STEP_SAMPLES + 1e-9).astype(np.float32)


def _loudness(rms: Curve, speech: npt.NDArray[np.bool_]) -> Curve:
    """Return (steps,) loudness 0..1 relative to loud speech, measured in the steps where `speech` is True."""
    speech_rms = rms[speech] if speech.any() else rms
    loud = max(float(np.percentile(speech_rms, _LOUD_PERCENTILE)), _MIN_LOUD_RMS)
    return np.sqrt(np.clip(_smooth(rms, _LOUDNESS_SIGMA_S) / np.float32(loud), 0, 1))


def _pulses(spans: Sequence[Pulse], steps: int, min_s: float, ramp_s: float) -> Curve:
    """
    Return a (steps,) curve with one pulse per span.

    A pulse has its height inside the span, which is widened to at least `min_s`, and a raised-cosine ramp of
    `ramp_s` on either side. Where pulses overlap, the highest counts.
    """
    out = np.zeros(steps, np.float32)
    for start, end, height in spans:
        extension = max(0.0, min_s - (end - start)) / 2
        a, b = start - extension, end + extension
        first = max(0, int((a - ramp_s) * GRID_HZ) - 1)
        last = min(steps, int((b + ramp_s) * GRID_HZ) + 2)
        if first >= last:
            continue
        time_s = (np.arange(first, last) + 0.5) / GRID_HZ
        distance = np.clip(np.maximum(a - time_s, time_s - b) / ramp_s, 0, 1)
        part = out[first:last]
        np.maximum(part, height * (0.5 + 0.5 * np.cos(np.pi * distance)), out=part, casting="same_kind")
    return out


def _curves_from_energy(rms: Curve | None, steps: int) -> tuple[Curve, Curve, Curve]:
    """Return opening, width and closure on the grid without phones: the opening follows the loudness."""
    zero = np.zeros(steps, np.float32)
    if rms is None:
        return zero, zero, zero
    level = _loudness(rms, rms > max(float(rms.max()) * 0.05, _MIN_LOUD_RMS))
    opening = _MAX_ENERGY_OPEN * np.clip((level - _PAUSE_LEVEL) / (1 - _PAUSE_LEVEL), 0, 1)
    pauses = _true_runs(level < _PAUSE_LEVEL)
    inner_pauses = [
        (a + _SILENCE_MARGIN_S, b - _SILENCE_MARGIN_S, 1.0) for a, b in pauses if b - a > _MIN_SILENCE_S
    ]
    return opening * (1 - _pulses(inner_pauses, steps, 0.0, _SILENCE_MARGIN_S)), zero, zero


def _true_runs(flags: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Return start and end, in seconds, of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(a / GRID_HZ, b / GRID_HZ) for a, b in edges.reshape(-1, 2).tolist()]


def _to_frames(opening: Curve, width: Curve, closure: Curve, frames: int, rate: Fraction) -> Float:
    """Average the grid into (T, 3) frames; keep short closures, and limit the speed of the opening."""
    edges = np.arange(frames + 1) * (GRID_HZ * rate.denominator) // rate.numerator
    cuts, counts = edges[:-1], np.maximum(np.diff(edges), 1).astype(np.float32)
    end = int(max(edges[-1], edges[-2] + 1))
    opening, width, closure = opening[:end], width[:end], closure[:end]
    out = np.empty((frames, 3), np.float32)
    out[:, 0] = np.add.reduceat(opening, cuts) / counts
    out[:, 1] = np.add.reduceat(width, cuts) / counts
    out[:, 2] = np.maximum.reduceat(closure, cuts)
    is_shut = np.add.reduceat((closure > _SHUT_THRESHOLD).astype(np.float32), cuts) / counts > _MIN_SHUT_SHARE
    out[is_shut, 0] = np.minimum.reduceat(opening, cuts)[is_shut]
    out[:, 0] = _limit_speed(out[:, 0], _MAX_OPEN_PER_S * rate.denominator / rate.numerator)
    return out


def _limit_speed(curve: Curve, max_step: float) -> Curve:
    """Limit the change per frame by lowering neighboring frames, so that a closed frame stays closed."""
    slope = np.arange(len(curve)) * max_step
    forward = np.minimum.accumulate(curve - slope) + slope
    back = np.minimum.accumulate((forward + slope)[::-1])[::-1] - slope
    return np.clip(back, 0, 1).astype(np.float32)
