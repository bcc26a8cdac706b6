"""The visible inner edges of the lips, and the seam where closed lips meet."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.engines.viseme.numeric import smoothstep_scalar
from musetalk_core.faces.mesh_topology import LOWER_LIP_INNER, UPPER_LIP_INNER
from musetalk_core.types import Float

SEAM_POSITION: Final = 0.26
"""Position of the seam of closed lips between the upper (0) and the lower (1) inner edge of open ones."""
_TRIM, _MIN_TRIM_PX, _MAX_TRIM_SHARE = 0.0095, 1.2, 0.22
"""Trimmed from an open lip: in face units, at least in pixels (teeth bleed into the lip by about one), and at
most as a share of the lip."""
_OUTER_UPPER, _INNER_UPPER, _INNER_LOWER, _OUTER_LOWER = 0, 13, 14, 17
_ANGLES: Final = np.linspace(0.12, np.pi - 0.12, 11)
_TRIM_PROFILE: Final = (np.sin(_ANGLES) ** 0.3).astype(np.float32)
"""Trim along the lip: less at the corners, where lips are thin."""


@dataclass(frozen=True, slots=True, eq=False)
class LipEdges:
    """
    The inner lip edges in face units, 11 points from the left to the right corner.

    Attributes:
        upper:    (11, 2) float32.
        lower:    (11, 2) float32.
        gap:      distance of the mesh's inner lips in the middle, before trimming; never negative.
        openness: 0 closed .. 1 certainly open.
        trims:    what was trimmed from the upper and the lower lip in the middle.
    """

    upper: Float
    lower: Float
    gap: float
    openness: float
    trims: tuple[float, float]

    @property
    def seam(self) -> Float:
        """Return (11, 2) float32: where the lips meet when they close."""
        return (self.upper * (1 - SEAM_POSITION) + self.lower * SEAM_POSITION).astype(np.float32)


def lip_edges(points: Float, height: float) -> LipEdges:
    """
    Return the inner lip edges of a mesh.

    The mesh is not exact. Where teeth may show, both lips are trimmed slightly; otherwise white pixels of
    teeth stay on the lips when they close.

    Args:
        points: (468, 2) float32, mesh in face units.
        height: face height H in pixels.
    """
    upper, lower = points[UPPER_LIP_INNER].copy(), points[LOWER_LIP_INNER].copy()
    gap = max(0.0, float(lower[5, 1] - upper[5, 1]))
    openness = smoothstep_scalar((gap - 0.010) / 0.012)
    max_trim = max(_TRIM, _MIN_TRIM_PX / height) * openness
    upper_trim = min(
        max_trim, _MAX_TRIM_SHARE * max(0.0, float(points[_INNER_UPPER, 1] - points[_OUTER_UPPER, 1]))
    )
    lower_trim = min(
        max_trim, _MAX_TRIM_SHARE * max(0.0, float(points[_OUTER_LOWER, 1] - points[_INNER_LOWER, 1]))
    )
    upper[:, 1] -= upper_trim * _TRIM_PROFILE
    lower[:, 1] += lower_trim * _TRIM_PROFILE
    return LipEdges(upper, lower, gap, openness, (upper_trim, lower_trim))
