"""From mouth parameters (opening, width, closure) to the target shape of a source mouth."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.engines.viseme import numeric
from musetalk_core.engines.viseme.mouth import CHEEK_SHARES, Mouth
from musetalk_core.engines.viseme.numeric import smoothstep_scalar
from musetalk_core.types import Float

MAX_GAP: Final = 0.165
"""
Lip gap of the widest vowel, in face heights: 25 mm.

The 95th percentile of the lip aperture is then 0.09 to 0.11 in ordinary speech, as measured on a clip of a
real speaker (docs/LOG.md).
"""
_GAP_EXPONENT: Final = 0.85
"""Below 1: small openings gain most, since coarticulation leaves few vowels their full opening."""
_UPPER_GAP_SHARE: Final = 0.22
_SPREAD_STRETCH, _ROUND_STRETCH = 0.09, 0.30
_ROUND_DROP: Final = 0.008
_CHIN_SHARE: Final = 0.58
_PRESS: Final = 0.006
"""How far the outer edges of both lips move inwards when lips are pressed, in face heights."""
_REST_CLOSURE, _REST_OPENING = 0.8, 0.04
"""Closure of an open source's lips in pauses, where they look closed, and the opening that ends it."""
_ARCH_FLATTENING: Final = 0.8
"""Share of an open upper lip's arch that is removed; without it a closed mouth frowns."""
_SMILE_RELAXATION: Final = 0.6
"""Share of a smile's raised corners that is removed."""
_WIDTH_RELAXATION: Final = 0.8
"""Share of a smile's extra width that is removed."""
_MAX_SMILING_OPENING: Final = 0.92
"""Maximum opening of a smiling source: a smile with a wide vowel looks like laughing."""
_CORNERS: Final = slice(0, 11, 10)
_JAW_SHARE: Final = np.array(
    [1, 1, 1, 0.95, 0.95, 0.85, 0.85, 0.7, 0.7, 0.5, 0.5, 0.25, 0.25, 0.1, 0.1], np.float32
)


@dataclass(frozen=True, slots=True, eq=False)
class MouthParameters:
    """
    One row of speech features.

    Attributes:
        opening: 0..1.
        width:   -1 round .. +1 spread.
        closure: 0..1.
        tongue:  0..1: 1 = its tip touches the upper teeth.
    """

    opening: float
    width: float
    closure: float
    tongue: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TargetShape:
    """
    A target mouth, in face units.

    Attributes:
        upper:           (11, 2) float32, inner edge of the upper lip.
        lower:           (11, 2) float32, inner edge of the lower lip.
        gap:             target lip gap.
        jaw_drop:        how far the lower teeth are below those of a shut mouth.
        roundness:       0..1, how rounded the lips are.
        tongue:          0..1: 1 = its tip touches the upper teeth.
        control_offsets: (108, 2) float32, displacement of each control point.
    """

    upper: Float
    lower: Float
    gap: float
    jaw_drop: float
    roundness: float
    tongue: float
    control_offsets: Float


def compute_target_shape(mouth: Mouth, parameters: MouthParameters) -> TargetShape:
    """
    Compute the target shape of a mouth.

    It starts from a neutral mouth: the source's opening and most of its smile are removed.
    """
    opening = min(parameters.opening, 1 - (1 - _MAX_SMILING_OPENING) * mouth.smile_strength)
    roundness = max(0.0, -parameters.width)
    gap = MAX_GAP * opening**_GAP_EXPONENT
    relaxed = 1 - _WIDTH_RELAXATION * (1 - mouth.neutral_width)
    speaking = 1 + (_SPREAD_STRETCH if parameters.width > 0 else _ROUND_STRETCH) * parameters.width
    stretch = relaxed * speaking * (1 - 0.08 * opening)
    upper, lower, lip_profile = _target_edges(mouth, gap, stretch, roundness)
    # lips keep their volume: narrower ones are thicker
    thickness = min(1.6, max(0.85, stretch**-0.8)) - 1
    return _shape_with_offsets(
        mouth,
        upper,
        lower,
        lip_profile,
        gap,
        1 + (stretch - 1) * mouth.motion_share,
        thickness * mouth.motion_share,
        parameters,
    )


def _target_edges(mouth: Mouth, gap: float, stretch: float, roundness: float) -> tuple[Float, Float, Float]:
    seam, middle = mouth.seam, mouth.middle
    relative_x = np.clip((seam[:, 0] - middle) / mouth.half_width, -1, 1)
    lip_profile = np.sqrt(1 - relative_x**2)  # half ellipse: 0 at the corners .. 1 in the middle
    x = middle + (seam[:, 0] - middle) * stretch
    drop = 0.12 * gap + _SMILE_RELAXATION * max(0.0, mouth.smile)
    y = (
        seam[:, 1]
        + _ROUND_DROP * roundness
        + drop * relative_x**2
        + _ARCH_FLATTENING * max(0.0, -mouth.smile) * (1 - relative_x**2)
    )
    upper_share = _UPPER_GAP_SHARE * (1 - roundness)  # protruding lips cover the upper teeth
    upper = np.stack([x, y - upper_share * gap * lip_profile], axis=1)
    lower = np.stack([x, y + (1 - upper_share) * gap * lip_profile], axis=1)
    if mouth.motion_share < 1:  # turned away: stay closer to the source
        upper = mouth.edges.upper + (upper - mouth.edges.upper) * mouth.motion_share
        lower = mouth.edges.lower + (lower - mouth.edges.lower) * mouth.motion_share
    return upper.astype(np.float32), lower.astype(np.float32), lip_profile.astype(np.float32)


def _shape_with_offsets(
    mouth: Mouth,
    upper: Float,
    lower: Float,
    lip_profile: Float,
    gap: float,
    stretch: float,
    thickness: float,
    parameters: MouthParameters,
) -> TargetShape:
    rest = _REST_CLOSURE * mouth.edges.openness * (1 - smoothstep_scalar(parameters.opening / _REST_OPENING))
    press = _PRESS * max(parameters.closure, rest) * mouth.motion_share * lip_profile
    offsets = np.zeros_like(mouth.control_points)
    upper_offsets, lower_offsets = offsets[numeric.UPPER_INNER], offsets[numeric.LOWER_INNER]
    np.subtract(upper, mouth.edges.upper, out=upper_offsets)
    np.subtract(lower, mouth.edges.lower, out=lower_offsets)
    # the outer lip edges, cheeks, chin and jaw follow the inner edges by decreasing shares
    x_from_middle = mouth.control_points[:, 0] - mouth.middle
    for part, inner, down in (
        (numeric.UPPER_OUTER, numeric.UPPER_INNER, upper_offsets[:, 1] * 0.85 + press),
        (numeric.LOWER_OUTER, numeric.LOWER_INNER, lower_offsets[:, 1] * 0.92 - press),
    ):
        lip = mouth.control_points[part][:, 1] - mouth.control_points[inner][:, 1]
        offsets[part, 0] = x_from_middle[part] * (stretch - 1)
        offsets[part, 1] = down + lip * np.float32(thickness)
        offsets[part][_CORNERS, 1] = 0.5 * (upper_offsets[_CORNERS, 1] + lower_offsets[_CORNERS, 1])
    for rows, share in CHEEK_SHARES:
        offsets[list(rows)] = share * offsets[numeric.UPPER_OUTER][_CORNERS]
    jaw = float(lower_offsets[5, 1]) * _CHIN_SHARE * mouth.chin_clearance
    offsets[numeric.CHIN, 0] = x_from_middle[numeric.CHIN] * ((stretch - 1) * 0.3)
    offsets[numeric.CHIN, 1] = jaw * 1.1
    offsets[numeric.JAW, 1] = _JAW_SHARE * jaw
    jaw_drop = _CHIN_SHARE * (1 - _UPPER_GAP_SHARE) * gap
    return TargetShape(upper, lower, gap, jaw_drop, max(0.0, -parameters.width), parameters.tongue, offsets)
