"""
Lip-sync score of a video: whether the lips open, close, round and spread with the speech, and far enough.

A correlation alone ignores amplitude: a grin that trembles with the speech correlates as well as a mouth that
speaks. It is therefore multiplied with the share of the movement that speech has, see `movement_share`.

This is a regression check for the renderers of this package, not a published metric such as SyncNet or LSE.

Known limits: the face mesh underestimates dark synthetic mouths and measures closed smiling lips as slightly
open. The reference curve is mostly the one that the renderer was given. On real talking clips, plain loudness
scores as high. Compare the margin over wrong speech, not absolute values.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import InputError
from musetalk_core.faces.mesh_topology import (
    LEFT_LIP_INSIDE,
    LOWER_LIP_INSIDE,
    RIGHT_LIP_INSIDE,
    UPPER_LIP_INSIDE,
    face_height,
)
from musetalk_core.faces.mesh_tracker import track_face
from musetalk_core.faces.tracker_protocol import FaceChoice
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.visemes import BILABIALS, SILENCE, to_arpabet
from musetalk_core.types import Float

CLOSED_LIPS_THRESHOLD_H: Final = 0.012
"""Apertures up to this much above the closed level count as closed, in face heights."""
SPEECH_RANGE_H: Final = 0.03
"""
Least range of the lip aperture in ordinary speech, in face heights, 5th to 95th percentile: 4.5 mm.

A third of what a real speaker shows (0.095, docs/LOG.md), since the mesh underestimates dark mouths and small
faces. A smile that does not speak shows 0.011.
"""
SPEECH_WIDTH_RANGE_H: Final = 0.03
"""The same for the width of the mouth; a real speaker shows 0.073."""
_CLOSED_PERCENTILE: Final = 5
_LIP_LEAD_S: Final = 0.03
"""Lips may close this many seconds before the phone starts."""
_MIN_SILENCE_S, _SILENCE_MARGIN_S = 0.3, 0.1
_MIN_FRAMES: Final = 5


@dataclass(frozen=True, slots=True)
class SyncScore:
    """
    The correlation of a mouth with a curve.

    Attributes:
        correlation: -1..1, the highest within the allowed lags; 0 if either signal is constant.
        lag_frames:  lag of that correlation in frames; positive if the mouth is late.
    """

    correlation: float
    lag_frames: int


@dataclass(frozen=True, slots=True)
class SyncContrast:
    """
    The score of the right speech compared with the scores of wrong speech.

    Attributes:
        right:      score of the right speech.
        wrong_mean: mean correlation of the wrong speech curves.
        wrong_max:  highest correlation of the wrong speech curves.
    """

    right: SyncScore
    wrong_mean: float
    wrong_max: float

    @property
    def margin(self) -> float:
        """Correlation of the right speech minus the mean of the wrong ones; above 0.4 is good."""
        return self.right.correlation - self.wrong_mean


@dataclass(frozen=True, slots=True)
class ClosedShare:
    """
    How often the lips are closed where they should be.

    Attributes:
        bilabials: share 0..1 of the phones p, b, m whose narrowest frame is closed; 1 if there are none.
        silences:  share 0..1 of the frames well inside pauses that are closed; 1 if there are none.
        shut:      aperture of this face's closed mouth that was used, in face heights.
    """

    bilabials: float
    silences: float
    shut: float


def lip_aperture(landmarks: Float) -> float:
    """
    Return the gap between the inner lips divided by the face height.

    Args:
        landmarks: (468, 2) float32 mesh landmarks in pixels.
    """
    gap = float(np.linalg.norm(landmarks[UPPER_LIP_INSIDE] - landmarks[LOWER_LIP_INSIDE]))
    return gap / max(face_height(landmarks), 1e-6)


def lip_width(landmarks: Float) -> float:
    """
    Return the distance between the inner corners of the mouth divided by the face height.

    Args:
        landmarks: (468, 2) float32 mesh landmarks in pixels.
    """
    corners = landmarks[LEFT_LIP_INSIDE] - landmarks[RIGHT_LIP_INSIDE]
    return float(np.linalg.norm(corners)) / max(face_height(landmarks), 1e-6)


def lip_shapes(pictures: Iterable[Picture], choice: FaceChoice = "largest") -> Float:
    """
    Measure aperture and width of the lips in every frame of a video.

    Args:
        pictures: the frames in order; consumed one at a time.
        choice:   which face to measure.

    Returns:
        (T, 2) float32, aperture and width in face heights; NaN for frames without a face.

    Raises:
        ModelNotInstalled: a face network is missing or damaged.
    """
    rows = [
        (np.nan, np.nan)
        if face.landmarks is None
        else (lip_aperture(face.landmarks), lip_width(face.landmarks))
        for face in track_face(pictures, choice)
    ]
    return np.array(rows, np.float32).reshape(-1, 2)


def lip_apertures(pictures: Iterable[Picture], choice: FaceChoice = "largest") -> Float:
    """Return (T,) float32, the apertures of `lip_shapes`."""
    return lip_shapes(pictures, choice)[:, 0]


def movement_share(measured: Float) -> float:
    """
    Return how much of the movement of speech a mouth shows, 0..1; a fixed grin shows almost none.

    Args:
        measured: (T,) float32, see `lip_apertures`; NaN frames are left out.
    """
    return _range_share(measured, SPEECH_RANGE_H)


def rounding_share(widths: Float) -> float:
    """
    Return how much of the change of width of speech a mouth shows, 0..1.

    Args:
        widths: (T,) float32, see `lip_width`; NaN frames are left out.
    """
    return _range_share(widths, SPEECH_WIDTH_RANGE_H)


def _range_share(measured: Float, full: float) -> float:
    valid = measured[~np.isnan(measured)]
    if not len(valid):
        return 0.0
    low, high = np.percentile(valid, (_CLOSED_PERCENTILE, 100 - _CLOSED_PERCENTILE))
    return min(1.0, float(high - low) / full)


def sync_score(measured: Float, openness: Float, max_lag: int = 2) -> SyncScore:
    """
    Correlate the measured lip aperture with the mouth opening of the speech.

    Args:
        measured: (T,) float32, see `lip_apertures`; NaN frames are left out.
        openness: (T,) float32, the mouth opening: column 0 of the speech's mouth curves.
        max_lag:  maximum shift in frames to either side; the best match counts.

    Raises:
        InputError: the lengths differ by more than one frame.
    """
    if abs(len(measured) - len(openness)) > 1:
        raise InputError(f"{len(measured)} measured frames do not match {len(openness)} frames of speech.")
    length = min(len(measured), len(openness))
    scores = [
        SyncScore(_correlation(*_align_at_lag(measured[:length], openness[:length], lag)), lag)
        for lag in sorted(range(-max_lag, max_lag + 1), key=abs)
    ]
    return max(scores, key=lambda score: score.correlation)


def score_against_wrong(
    measured: Float, openness: Float, wrong: Sequence[Float], max_lag: int = 2
) -> SyncContrast:
    """
    Compare the score of the right speech with the scores of other speech.

    A mouth that moves without following its speech scores about the same for both.

    Args:
        measured: (T,) float32, see `lip_apertures`.
        openness: (T,) float32, the mouth opening of the right speech.
        wrong:    mouth openings of other speech, of any length; repeated or cut to T.
        max_lag:  maximum shift in frames, the same for all curves.

    Raises:
        InputError: no wrong curve, or the lengths of `measured` and `openness` differ.
    """
    if not wrong or not all(len(curve) for curve in wrong):
        raise InputError("A comparison needs at least one other speech.")
    wrong_correlations = [
        sync_score(measured, np.resize(curve, len(measured)), max_lag).correlation for curve in wrong
    ]
    return SyncContrast(
        sync_score(measured, openness, max_lag), float(np.mean(wrong_correlations)), max(wrong_correlations)
    )


def closed_share(
    measured: Float,
    phones: Sequence[Phone],
    rate: Fraction,
    bound: float = CLOSED_LIPS_THRESHOLD_H,
    shut: float | None = None,
) -> ClosedShare:
    """
    Measure how often the lips are closed on p, b, m and in pauses.

    Args:
        measured: (T,) float32, see `lip_apertures`.
        phones:   phones of the speech, starting at the first frame.
        rate:     frames per second.
        bound:    highest aperture above the closed level that counts as closed, in face heights.
        shut:     aperture of this face's closed mouth; None = the 5th percentile of `measured`.
    """
    valid_apertures = measured[~np.isnan(measured)]
    closed_level = (
        shut
        if shut is not None
        else float(np.percentile(valid_apertures, _CLOSED_PERCENTILE))
        if len(valid_apertures)
        else 0.0
    )
    closed = measured <= closed_level + bound
    bilabial_closures: list[bool] = []
    pauses: list[npt.NDArray[np.bool_]] = [np.zeros(0, np.bool_)]
    for phone in phones:
        name = to_arpabet(phone.name)
        if name in BILABIALS:
            frames = _frame_range(phone.start_s - _LIP_LEAD_S, phone.end_s, rate)
            if not np.isnan(measured[frames]).all():
                bilabial_closures.append(bool(closed[frames].any()))
        elif name == SILENCE and phone.end_s - phone.start_s > _MIN_SILENCE_S:
            frames = _frame_range(phone.start_s + _SILENCE_MARGIN_S, phone.end_s - _SILENCE_MARGIN_S, rate)
            pauses.append(closed[frames][~np.isnan(measured[frames])])
    silence_closures = np.concatenate(pauses)
    return ClosedShare(
        float(np.mean(bilabial_closures)) if bilabial_closures else 1.0,
        float(silence_closures.mean()) if len(silence_closures) else 1.0,
        closed_level,
    )


def _frame_range(start_s: float, end_s: float, rate: Fraction) -> slice:
    return slice(max(0, floor(start_s * rate)), max(0, ceil(end_s * rate)))


def _align_at_lag(measured: Float, openness: Float, lag: int) -> tuple[Float, Float]:
    """Pair frame i + lag of the mouth with frame i of the speech."""
    if lag >= 0:
        return measured[lag:], openness[: len(openness) - lag]
    return measured[:lag], openness[-lag:]


def _correlation(a: Float, b: Float) -> float:
    is_valid = ~(np.isnan(a) | np.isnan(b))
    a, b = a[is_valid], b[is_valid]
    if len(a) < _MIN_FRAMES or a.std() < 1e-6 or b.std() < 1e-6:  # undefined for constant signals
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
