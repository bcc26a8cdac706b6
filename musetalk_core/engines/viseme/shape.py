"""From one row of the speech curves to the shape the mouth shall take."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.steps import step
from musetalk_core.types import Float

GAP_MOST: Final = 0.112
"""Gap of the widest vowel, in face heights."""
_UP, _DOWN = 0.22, 0.78
_WIDE, _ROUND = 0.06, 0.22
_CHIN_SHARE: Final = 0.55
_FLATTEN: Final = 0.8
"""Share of the arch of an opened upper lip that is taken back; without it a closed mouth frowns."""
_RELAX: Final = 0.35
"""Share of a smile's raised corners that is taken back."""
_SMILING_OPEN: Final = 0.85
"""The widest opening of a smiling source: a smile with a wide vowel looks like laughing."""
_JAW_SHARE: Final = np.array(
    [1, 1, 1, 0.95, 0.95, 0.85, 0.85, 0.7, 0.7, 0.5, 0.5, 0.25, 0.25, 0.1, 0.1], np.float32
)


@dataclass(frozen=True, slots=True, eq=False)
class Speaking:
    """One row of the curves: `opening` 0..1, `width` -1 round .. +1 spread, `closure` 0..1."""

    opening: float
    width: float
    closure: float


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """
    A wanted mouth, in face units.

    Attributes:
        upper: (11, 2) float32, inner edge of the upper lip.
        lower: (11, 2) float32, inner edge of the lower lip.
        gap:   the opening asked for.
        above: source points (N, 2) and how each moves (N, 2), for all above the lip line.
        below: the same for all below.
    """

    upper: Float
    lower: Float
    gap: float
    above: tuple[Float, Float]
    below: tuple[Float, Float]


def shape_of(mouth: Mouth, speaking: Speaking) -> Shape:
    """Work out the shape of a mouth that speaks; the opening is absolute, so the source's own is gone."""
    smiling = step((mouth.smile - 0.012) / 0.025)
    opening = min(speaking.opening, 1 - (1 - _SMILING_OPEN) * smiling)
    gap = GAP_MOST * opening * (1 - 0.35 * max(0.0, -speaking.width))
    stretch = _stretch(mouth, opening, speaking.width)
    upper, lower, belly = _edges(mouth, gap, stretch)
    return _moved(mouth, upper, lower, belly, gap, 1 + (stretch - 1) * mouth.motion, speaking)


def _stretch(mouth: Mouth, opening: float, width: float) -> float:
    """Width of the mouth over its source width."""
    factor = 1 + (_WIDE if width > 0 else _ROUND) * width
    relaxing = 0.05 * mouth.edges.parted * min(max(1 - 2 * opening, 0.0), 1.0)
    return factor * (1 - relaxing) * (1 - 0.08 * opening)


def _edges(mouth: Mouth, gap: float, stretch: float) -> tuple[Float, Float, Float]:
    seam, middle = mouth.seam, mouth.middle
    along = np.clip((seam[:, 0] - middle) / mouth.half_width, -1, 1)
    belly = np.sqrt(1 - along**2)
    x = middle + (seam[:, 0] - middle) * stretch
    drop = 0.12 * gap + _RELAX * max(0.0, mouth.smile)
    y = seam[:, 1] + drop * along**2 + _FLATTEN * max(0.0, -mouth.smile) * (1 - along**2)
    upper = np.stack([x, y - _UP * gap * belly], axis=1)
    lower = np.stack([x, y + _DOWN * gap * belly], axis=1)
    if mouth.motion < 1:
        upper = mouth.edges.upper + (upper - mouth.edges.upper) * mouth.motion
        lower = mouth.edges.lower + (lower - mouth.edges.lower) * mouth.motion
    return upper.astype(np.float32), lower.astype(np.float32), belly.astype(np.float32)


def _moved(
    mouth: Mouth, upper: Float, lower: Float, belly: Float, gap: float, stretch: float, speaking: Speaking
) -> Shape:
    press = 0.006 * speaking.closure * mouth.motion * belly
    pout = 0.0075 * max(0.0, -speaking.width) * mouth.motion * belly
    by_upper, by_lower = upper - mouth.edges.upper, lower - mouth.edges.lower
    by_upper_outer = _outwards(mouth, mouth.upper_outer, stretch, by_upper[:, 1] * 0.85 + press - pout)
    by_lower_outer = _outwards(mouth, mouth.lower_outer, stretch, by_lower[:, 1] * 0.92 - press + pout)
    corners = 0.8 * (by_upper[[0, 10], 1] + by_lower[[0, 10], 1]) / 2
    by_upper_outer[[0, 10], 1] = by_lower_outer[[0, 10], 1] = corners
    jaw = float(by_lower[5, 1]) * _CHIN_SHARE * mouth.room
    by_chin = _outwards(mouth, mouth.chin, 1 + (stretch - 1) * 0.3, np.full(len(mouth.chin), jaw * 1.1))
    by_jaw = np.stack([np.zeros_like(_JAW_SHARE), _JAW_SHARE * jaw], axis=1)
    nothing = np.zeros_like(mouth.still)
    above = np.vstack([mouth.upper_outer, mouth.edges.upper, mouth.still])
    below = np.vstack([mouth.lower_outer, mouth.edges.lower, mouth.chin, mouth.jaw, mouth.still])
    return Shape(
        upper,
        lower,
        gap,
        (above, np.vstack([by_upper_outer, by_upper, nothing])),
        (below, np.vstack([by_lower_outer, by_lower, by_chin, by_jaw, nothing])),
    )


def _outwards(mouth: Mouth, points: Float, stretch: float, down: npt.NDArray[np.floating]) -> Float:
    return np.stack([(points[:, 0] - mouth.middle) * (stretch - 1), down], axis=1).astype(np.float32)
