"""From mouth parameters (opening, width, closure) to the target shape of a source mouth."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.engines.viseme import controls
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.steps import step
from musetalk_core.types import Float

GAP_MOST: Final = 0.112
"""Lip gap of the widest vowel, in face heights."""
_UP, _DOWN = 0.22, 0.78
_WIDE, _ROUND = 0.06, 0.22
_CHIN_SHARE: Final = 0.55
_FLATTEN: Final = 0.8
"""Share of an open upper lip's arch that is removed; without it a closed mouth frowns."""
_RELAX: Final = 0.35
"""Share of a smile's raised corners that is removed."""
_SMILING_OPEN: Final = 0.85
"""Maximum opening of a smiling source: a smile with a wide vowel looks like laughing."""
_CORNERS: Final = slice(0, 11, 10)
_JAW_SHARE: Final = np.array(
    [1, 1, 1, 0.95, 0.95, 0.85, 0.85, 0.7, 0.7, 0.5, 0.5, 0.25, 0.25, 0.1, 0.1], np.float32
)


@dataclass(frozen=True, slots=True, eq=False)
class Speaking:
    """One row of the mouth curves: `opening` 0..1, `width` -1 round .. +1 spread, `closure` 0..1."""

    opening: float
    width: float
    closure: float


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
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
    moves: Float


def shape_of(mouth: Mouth, speaking: Speaking) -> Shape:
    """
    Compute the target shape of a mouth.

    The opening is absolute, so the source's own opening is removed.
    """
    smiling = step((mouth.smile - 0.012) / 0.025)
    opening = min(speaking.opening, 1 - (1 - _SMILING_OPEN) * smiling)
    gap = GAP_MOST * opening * (1 - 0.35 * max(0.0, -speaking.width))
    stretch = _stretch(mouth, opening, speaking.width)
    upper, lower, belly = _edges(mouth, gap, stretch)
    return _moved(mouth, upper, lower, belly, gap, 1 + (stretch - 1) * mouth.motion, speaking)


def _stretch(mouth: Mouth, opening: float, width: float) -> float:
    """Return the width of the target mouth over the source's width."""
    # an open source mouth that closes relaxes by up to 5 %; an open target mouth is up to 8 % narrower
    factor = 1 + (_WIDE if width > 0 else _ROUND) * width
    relaxing = 0.05 * mouth.edges.parted * min(max(1 - 2 * opening, 0.0), 1.0)
    return factor * (1 - relaxing) * (1 - 0.08 * opening)


def _edges(mouth: Mouth, gap: float, stretch: float) -> tuple[Float, Float, Float]:
    seam, middle = mouth.seam, mouth.middle
    along = np.clip((seam[:, 0] - middle) / mouth.half_width, -1, 1)
    belly = np.sqrt(1 - along**2)  # half ellipse: 0 at the corners .. 1 in the middle
    x = middle + (seam[:, 0] - middle) * stretch
    drop = 0.12 * gap + _RELAX * max(0.0, mouth.smile)
    y = seam[:, 1] + drop * along**2 + _FLATTEN * max(0.0, -mouth.smile) * (1 - along**2)
    upper = np.stack([x, y - _UP * gap * belly], axis=1)
    lower = np.stack([x, y + _DOWN * gap * belly], axis=1)
    if mouth.motion < 1:  # turned away: stay closer to the source
        upper = mouth.edges.upper + (upper - mouth.edges.upper) * mouth.motion
        lower = mouth.edges.lower + (lower - mouth.edges.lower) * mouth.motion
    return upper.astype(np.float32), lower.astype(np.float32), belly.astype(np.float32)


def _moved(
    mouth: Mouth, upper: Float, lower: Float, belly: Float, gap: float, stretch: float, speaking: Speaking
) -> Shape:
    press = 0.006 * speaking.closure * mouth.motion * belly
    pout = 0.0075 * max(0.0, -speaking.width) * mouth.motion * belly
    moves = np.zeros_like(mouth.controls)
    by_upper, by_lower = moves[controls.UPPER_INNER], moves[controls.LOWER_INNER]
    np.subtract(upper, mouth.edges.upper, out=by_upper)
    np.subtract(lower, mouth.edges.lower, out=by_lower)
    # the outer lip edges, chin and jaw follow the inner edges by decreasing shares
    outer = mouth.controls[:, 0] - mouth.middle
    for part, down in (
        (controls.UPPER_OUTER, by_upper[:, 1] * 0.85 + press - pout),
        (controls.LOWER_OUTER, by_lower[:, 1] * 0.92 - press + pout),
    ):
        moves[part, 0] = outer[part] * (stretch - 1)
        moves[part, 1] = down
        moves[part][_CORNERS, 1] = 0.4 * (by_upper[_CORNERS, 1] + by_lower[_CORNERS, 1])
    jaw = float(by_lower[5, 1]) * _CHIN_SHARE * mouth.room
    moves[controls.CHIN, 0] = outer[controls.CHIN] * ((stretch - 1) * 0.3)
    moves[controls.CHIN, 1] = jaw * 1.1
    moves[controls.JAW, 1] = _JAW_SHARE * jaw
    return Shape(upper, lower, gap, moves)
