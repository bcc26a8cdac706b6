"""Layout of the warp's control points in one array; both fields share one equation system."""

from typing import Final

UPPER_OUTER: Final = slice(0, 11)
UPPER_INNER: Final = slice(11, 22)
PLANE: Final = slice(22, 25)
"""Not points: the rows of the spline's constant and its two slopes; zeros."""
FIXED: Final = slice(25, 61)
LOWER_OUTER: Final = slice(61, 72)
LOWER_INNER: Final = slice(72, 83)
CHIN: Final = slice(83, 93)
JAW: Final = slice(93, 108)

POINT_COUNT: Final = 108
UPPER_FIELD: Final = slice(0, 61)
"""Control points of the field above the lip line."""
LOWER_FIELD: Final = slice(22, 108)
"""Control points of the field below the lip line; both include the plane and the fixed points."""
