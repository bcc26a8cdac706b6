"""
Whether the mouth of a video follows its speech: lip aperture against the opening the speech asks for.

A regression check of our own renderers, not a published metric: no SyncNet, no LSE. The mesh underrates dark
synthetic mouths and reads smiling shut lips as slightly open; the curve it is compared with is mostly the one
the renderer was given, and on real talking clips plain loudness does as well. So judge by the margin over
wrong speech, never by the absolute number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import InputError
from musetalk_core.faces.following import FaceChoice
from musetalk_core.faces.topology import LOWER_LIP_INSIDE, UPPER_LIP_INSIDE, face_height
from musetalk_core.faces.tracking import track
from musetalk_core.media.picture import Picture
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.visemes import BILABIALS, SILENCE, arpabet
from musetalk_core.types import Float

SHUT_BOUND: Final = 0.012
"""Apertures up to this much over the shut level count as closed; in face heights."""
_SHUT_PERCENTILE: Final = 5
_LEAD_S: Final = 0.03
"""Lips may close this much before the sound does."""
_LEAST_SILENCE_S, _SILENCE_MARGIN_S = 0.3, 0.1
_LEAST_FRAMES: Final = 5


@dataclass(frozen=True, slots=True)
class SyncScore:
    """
    How well a mouth follows a curve.

    Attributes:
        correlation: -1..1, the best within the allowed lags; 0 where either does not move.
        lag_frames:  where it was found; positive when the mouth is late.
    """

    correlation: float
    lag_frames: int


@dataclass(frozen=True, slots=True)
class Contrast:
    """
    The right speech against wrong ones.

    Attributes:
        right:      score of the right one.
        wrong_mean: mean correlation of the wrong ones.
        wrong_max:  their highest.
    """

    right: SyncScore
    wrong_mean: float
    wrong_max: float

    @property
    def margin(self) -> float:
        """Right over mean wrong; above 0.4 is good."""
        return self.right.correlation - self.wrong_mean


@dataclass(frozen=True, slots=True)
class ClosedShare:
    """
    How often the lips meet where they should.

    Attributes:
        bilabials: share 0..1 of the p, b, m whose narrowest frame is closed; 1 where there are none.
        silences:  share 0..1 of the frames well inside pauses that are closed; 1 where there are none.
        shut:      aperture taken as the shut mouth of this face, in face heights.
    """

    bilabials: float
    silences: float
    shut: float


def aperture(landmarks: Float) -> float:
    """
    Give the gap between the lips over the face height.

    Args:
        landmarks: (468, 2) float32, mesh in pixels.
    """
    gap = float(np.linalg.norm(landmarks[UPPER_LIP_INSIDE] - landmarks[LOWER_LIP_INSIDE]))
    return gap / max(face_height(landmarks), 1e-6)


def apertures(pictures: Iterable[Picture], choice: FaceChoice = "largest") -> Float:
    """
    Measure the lips of every frame of a video.

    Args:
        pictures: the frames in order; consumed one at a time.
        choice:   whose lips.

    Returns:
        (T,) float32 in face heights; NaN in frames without a face.

    Raises:
        ModelNotInstalled: a face network is missing or damaged.
    """
    faces = track(pictures, choice)
    values = (np.nan if face.landmarks is None else aperture(face.landmarks) for face in faces)
    return np.fromiter(values, np.float32)


def sync_score(measured: Float, openness: Float, max_lag: int = 2) -> SyncScore:
    """
    Correlate measured lips with the opening that the speech asks for.

    Args:
        measured: (T,) float32, see `apertures`; NaN frames are left out.
        openness: (T,) float32, column 0 of `musetalk_core.speech.curves.curves`.
        max_lag:  frames to either side within which the best match counts.

    Raises:
        InputError: the lengths differ by more than a frame.
    """
    if abs(len(measured) - len(openness)) > 1:
        raise InputError(f"{len(measured)} measured frames do not match {len(openness)} frames of speech.")
    length = min(len(measured), len(openness))
    scores = [
        SyncScore(_correlation(*_lagged(measured[:length], openness[:length], lag)), lag)
        for lag in sorted(range(-max_lag, max_lag + 1), key=abs)
    ]
    return max(scores, key=lambda score: score.correlation)


def score_against_wrong(
    measured: Float, openness: Float, wrong: Sequence[Float], max_lag: int = 2
) -> Contrast:
    """
    Tell a mouth that follows its speech from one that just moves.

    Args:
        measured: (T,) float32, see `apertures`.
        openness: (T,) float32 of the right speech.
        wrong:    curves of other speech, of any length; repeated or cut to T.
        max_lag:  the same freedom for all.

    Raises:
        InputError: no wrong curve, or the lengths of `measured` and `openness` differ.
    """
    if not wrong or not all(len(curve) for curve in wrong):
        raise InputError("A comparison needs at least one other speech.")
    others = [sync_score(measured, np.resize(curve, len(measured)), max_lag).correlation for curve in wrong]
    return Contrast(sync_score(measured, openness, max_lag), float(np.mean(others)), max(others))


def closed_share(
    measured: Float,
    phones: Sequence[Phone],
    rate: Fraction,
    bound: float = SHUT_BOUND,
    shut: float | None = None,
) -> ClosedShare:
    """
    Count how often the lips meet on p, b, m and in pauses.

    Args:
        measured: (T,) float32, see `apertures`.
        phones:   of the speech, from the first frame on.
        rate:     frames per second.
        bound:    highest aperture over the shut level that is closed, in face heights.
        shut:     aperture of this face with its mouth shut; None = the 5th percentile of `measured`.
    """
    seen = measured[~np.isnan(measured)]
    level = shut if shut is not None else float(np.percentile(seen, _SHUT_PERCENTILE)) if len(seen) else 0.0
    closed = measured <= level + bound
    lips: list[bool] = []
    pauses: list[npt.NDArray[np.bool_]] = [np.zeros(0, np.bool_)]
    for phone in phones:
        name = arpabet(phone.name)
        if name in BILABIALS:
            part = _frames(phone.start_s - _LEAD_S, phone.end_s, rate)
            if not np.isnan(measured[part]).all():
                lips.append(bool(closed[part].any()))
        elif name == SILENCE and phone.end_s - phone.start_s > _LEAST_SILENCE_S:
            part = _frames(phone.start_s + _SILENCE_MARGIN_S, phone.end_s - _SILENCE_MARGIN_S, rate)
            pauses.append(closed[part][~np.isnan(measured[part])])
    quiet = np.concatenate(pauses)
    return ClosedShare(
        float(np.mean(lips)) if lips else 1.0, float(quiet.mean()) if len(quiet) else 1.0, level
    )


def _frames(start_s: float, end_s: float, rate: Fraction) -> slice:
    return slice(max(0, floor(start_s * rate)), max(0, ceil(end_s * rate)))


def _lagged(measured: Float, openness: Float, lag: int) -> tuple[Float, Float]:
    """Pair frame i + lag of the mouth with frame i of the speech."""
    if lag >= 0:
        return measured[lag:], openness[: len(openness) - lag]
    return measured[:lag], openness[-lag:]


def _correlation(a: Float, b: Float) -> float:
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if len(a) < _LEAST_FRAMES or a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
