"""How a mouth moves compared with what its speech asks: amplitude, rounding, correlation, lag, closure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from musetalk_core.quality.lip_sync_score import closed_share, sync_score
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.visemes import BILABIALS, SILENCE, to_arpabet
from musetalk_core.types import Float

FULL_OPENING_H: Final = 0.132
"""
Range of the lip aperture of ordinary speech where the curves ask for the widest opening, in face heights.

On a clip of a real speaker, aligned to its transcript, ranges of aperture and curves have a ratio of 0.17,
which noise of the mesh increases, and a slope of 0.103, which errors of the alignment decrease (docs/LOG.md).
The geometric mean is 20 mm.
"""
FULL_WIDTH_H: Final = 0.05
"""Change of the mouth's width in ordinary speech per unit of the curves: the same speaker's slope, 0.052."""
_TAIL: Final = 0.2
"""A range is the mean of the highest fifth minus that of the lowest: percentiles depend on single frames."""
_APERTURE_PERCENTILE, _SHUT_PERCENTILE = 95, 5
_MAX_LAG_S: Final = 0.2
_MIN_FRAMES: Final = 8
_MIN_ASKED_OPENING, _MIN_ASKED_WIDTH = 0.15, 0.3
"""Ranges of the curves below which speech asks for too little movement to measure it."""
_MAX_SHUT_H: Final = 0.03
"""Largest aperture that counts as a closed mouth: the mesh reads up to 0.02 on closed smiling lips."""
_STILL_OPENING: Final = 0.03
_MIN_PAUSE_S: Final = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class SpeechReference:
    """
    The speech of a video.

    Attributes:
        curves:     (T, 3) float32, `mouth_curves` of the whole video.
        phones:     its phones; empty if unknown. Without them, pauses are where the curves are closed.
        follows_loudness: the curves follow the loudness, not phonemes. A good mouth correlates with them by
            0.3 to 0.45 only, so that correlation and lag are not judged; they tell nothing about the width.
    """

    curves: Float
    phones: Sequence[Phone] = ()
    follows_loudness: bool = False


@dataclass(frozen=True, slots=True)
class LipMovement:
    """
    Figures of a mouth's movement; None where the measured part of the speech does not show them.

    Attributes:
        aperture:     95th percentile of the lip aperture, in face heights.
        amplitude:    range of the aperture over that of ordinary speech.
        rounding:     change of the mouth's width with rounded and spread sounds, likewise.
        correlation:  of aperture and asked opening at the best lag, -1..1.
        lag_s:        that lag in seconds; positive if the mouth is late.
        bilabials:    share of p, b, m on which the lips close.
        pauses:       share of the frames in pauses in which they are closed.
    """

    aperture: float | None = None
    amplitude: float | None = None
    rounding: float | None = None
    correlation: float | None = None
    lag_s: float | None = None
    bilabials: float | None = None
    pauses: float | None = None


def measure_movement(lips: Float, speech: SpeechReference | None, rate: Fraction) -> LipMovement:
    """
    Compare measured lips with speech.

    Args:
        lips:   (T, 2) float32, aperture and width per frame of the video, in face heights; NaN in frames that
            were not measured.
        speech: the speech; None = only the aperture is measured.
        rate:   frames per second.
    """
    is_valid = ~np.isnan(lips[:, 0])
    if np.count_nonzero(is_valid) < _MIN_FRAMES:
        return LipMovement()
    shut, aperture = (
        float(v) for v in np.percentile(lips[is_valid, 0], (_SHUT_PERCENTILE, _APERTURE_PERCENTILE))
    )
    if speech is None:
        return LipMovement(aperture=aperture)
    curves = speech.curves[: len(lips)]
    lips, is_valid = lips[: len(curves)], is_valid[: len(curves)]
    asked = _range(curves[is_valid, 0])
    bilabials, pauses = _closures(lips[:, 0], speech, rate, min(shut, _MAX_SHUT_H))
    if asked < _MIN_ASKED_OPENING:
        return LipMovement(aperture=aperture, bilabials=bilabials, pauses=pauses)
    score = sync_score(lips[:, 0], curves[:, 0], max(1, round(_MAX_LAG_S * float(rate))))
    return LipMovement(
        aperture,
        _range(lips[is_valid, 0]) / (asked * FULL_OPENING_H),
        _rounding(lips[:, 1], curves[:, 1], score.lag_frames) if not speech.follows_loudness else None,
        score.correlation,
        score.lag_frames / float(rate),
        bilabials,
        pauses,
    )


def _range(values: Float) -> float:
    ordered = np.sort(values)
    count = max(1, int(len(ordered) * _TAIL))
    return float(ordered[-count:].mean() - ordered[:count].mean())


def _rounding(widths: Float, asked: Float, lag: int) -> float | None:
    """Return the slope of the measured width over the asked one, as a share of that of ordinary speech."""
    aligned = np.roll(asked, lag)
    is_valid = ~(np.isnan(widths) | np.isnan(aligned))
    measured, expected = widths[is_valid], aligned[is_valid]
    if not len(expected) or float(np.ptp(expected)) < _MIN_ASKED_WIDTH:
        return None
    deviation = expected - expected.mean()
    return float((deviation * measured).sum() / max((deviation**2).sum(), 1e-9)) / FULL_WIDTH_H


def _closures(
    apertures: Float, speech: SpeechReference, rate: Fraction, shut: float
) -> tuple[float | None, float | None]:
    """Return the closed shares of bilabials and pauses; None for those that were not measured."""
    phones = speech.phones or _pauses(speech.curves, rate)
    shares = closed_share(apertures, phones, rate, shut=shut)
    measured = ~np.isnan(apertures)

    def is_measured(phone: Phone) -> bool:
        return bool(measured[max(0, int(phone.start_s * rate)) : max(0, int(phone.end_s * rate)) + 1].any())

    names = [(to_arpabet(phone.name), phone) for phone in phones if is_measured(phone)]
    has_bilabials = any(name in BILABIALS for name, _ in names)
    has_pauses = any(name == SILENCE and p.end_s - p.start_s > _MIN_PAUSE_S for name, p in names)
    return shares.bilabials if has_bilabials else None, shares.silences if has_pauses else None


def _pauses(curves: Float, rate: Fraction) -> list[Phone]:
    """Return the runs of frames in which the curves ask for a closed mouth, as silent phones."""
    is_still = np.concatenate([[0], curves[:, 0] < _STILL_OPENING, [0]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(is_still))
    return [Phone(float(a / rate), float(b / rate), SILENCE) for a, b in edges.reshape(-1, 2).tolist()]
