"""From mouth parameters (opening, width, closure) to the target shape of a source mouth."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.engines.viseme import numeric
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.numeric import smoothstep_scalar
from musetalk_core.types import Float

MAX_GAP: Final = 0.112
"""Lip gap of the widest vowel, in face heights."""
_UPPER_GAP_SHARE, _LOWER_GAP_SHARE = 0.22, 0.78
_SPREAD_STRETCH, _ROUND_STRETCH = 0.06, 0.22
_CHIN_SHARE: Final = 0.55
_ARCH_FLATTENING: Final = 0.8
"""Share of an open upper lip's arch that is removed; without it a closed mouth frowns."""
_SMILE_RELAXATION: Final = 0.35
"""Share of a smile's raised corners that is removed."""
_MAX_SMILING_OPENING: Final = 0.85
"""Maximum opening of a smiling source: a smile with a wide vowel looks like laughing."""
_CORNERS: Final = slice(0, 11, 10)
_JAW_SHARE: Final = np.array(
    [1, 1, 1, 0.95, 0.95, 0.85, 0.85, 0.7, 0.7, 0.5, 0.5, 0.25, 0.25, 0.1, 0.1], np.float32
)


@dataclass(frozen=True, slots=True, eq=False)
class MouthParameters:
    """One row of the mouth curves: `opening` 0..1, `width` -1 round .. +1 spread, `closure` 0..1."""

    opening: float
    width: float
    closure: float


@dataclass(frozen=True, slots=True, eq=False)
class TargetShape:
    """
    A target mouth, in face units.

    Attributes:
        upper:           (11, 2) float32, inner edge of the upper lip.
        lower:           (11, 2) float32, inner edge of the lower lip.
        gap:             target lip gap.
        control_offsets: (108, 2) float32, displacement of each control point.
    """

    upper: Float
    lower: Float
    gap: float
    control_offsets: Float


def compute_target_shape(mouth: Mouth, parameters: MouthParameters) -> TargetShape:
    """
    Compute the target shape of a mouth.

    The opening is absolute, so the source's own opening is removed.
    """
    smile_strength = smoothstep_scalar((mouth.smile - 0.012) / 0.025)
    opening = min(parameters.opening, 1 - (1 - _MAX_SMILING_OPENING) * smile_strength)
    gap = MAX_GAP * opening * (1 - 0.35 * max(0.0, -parameters.width))
    stretch = _stretch(mouth, opening, parameters.width)
    upper, lower, lip_profile = _target_edges(mouth, gap, stretch)
    return _shape_with_offsets(
        mouth, upper, lower, lip_profile, gap, 1 + (stretch - 1) * mouth.motion_share, parameters
    )


def _stretch(mouth: Mouth, opening: float, width: float) -> float:
    """Return the width of the target mouth over the source's width."""
    # an open source mouth that closes relaxes by up to 5 %; an open target mouth is up to 8 % narrower
    factor = 1 + (_SPREAD_STRETCH if width > 0 else _ROUND_STRETCH) * width
    relaxing = 0.05 * mouth.edges.openness * min(max(1 - 2 * opening, 0.0), 1.0)
    return factor * (1 - relaxing) * (1 - 0.08 * opening)


def _target_edges(mouth: Mouth, gap: float, stretch: float) -> tuple[Float, Float, Float]:
    seam, middle = mouth.seam, mouth.middle
    relative_x = np.clip((seam[:, 0] - middle) / mouth.half_width, -1, 1)
    lip_profile = np.sqrt(1 - relative_x**2)  # half ellipse: 0 at the corners .. 1 in the middle
    x = middle + (seam[:, 0] - middle) * stretch
    drop = 0.12 * gap + _SMILE_RELAXATION * max(0.0, mouth.smile)
    y = seam[:, 1] + drop * relative_x**2 + _ARCH_FLATTENING * max(0.0, -mouth.smile) * (1 - relative_x**2)
    upper = np.stack([x, y - _UPPER_GAP_SHARE * gap * lip_profile], axis=1)
    lower = np.stack([x, y + _LOWER_GAP_SHARE * gap * lip_profile], axis=1)
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
    parameters: MouthParameters,
) -> TargetShape:
    press = 0.006 * parameters.closure * mouth.motion_share * lip_profile
    pout = 0.0075 * max(0.0, -parameters.width) * mouth.motion_share * lip_profile
    offsets = np.zeros_like(mouth.control_points)
    upper_offsets, lower_offsets = offsets[numeric.UPPER_INNER], offsets[numeric.LOWER_INNER]
    np.subtract(upper, mouth.edges.upper, out=upper_offsets)
    np.subtract(lower, mouth.edges.lower, out=lower_offsets)
    # the outer lip edges, chin and jaw follow the inner edges by decreasing shares
    x_from_middle = mouth.control_points[:, 0] - mouth.middle
    for part, down in (
        (numeric.UPPER_OUTER, upper_offsets[:, 1] * 0.85 + press - pout),
        (numeric.LOWER_OUTER, lower_offsets[:, 1] * 0.92 - press + pout),
    ):
        offsets[part, 0] = x_from_middle[part] * (stretch - 1)
        offsets[part, 1] = down
        offsets[part][_CORNERS, 1] = 0.4 * (upper_offsets[_CORNERS, 1] + lower_offsets[_CORNERS, 1])
    jaw = float(lower_offsets[5, 1]) * _CHIN_SHARE * mouth.chin_clearance
    offsets[numeric.CHIN, 0] = x_from_middle[numeric.CHIN] * ((stretch - 1) * 0.3)
    offsets[numeric.CHIN, 1] = jaw * 1.1
    offsets[numeric.JAW, 1] = _JAW_SHARE * jaw
    return TargetShape(upper, lower, gap, offsets)
