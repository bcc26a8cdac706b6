"""Thin-plate splines: the smoothest surface through given displacements (Bookstein 1989)."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.types import Float

_SMOOTHING: Final = 2e-4


@dataclass(frozen=True, slots=True, eq=False)
class ThinPlate:
    """
    A fitted spline.

    Attributes:
        centres: (N, 2) float32.
        weights: (N + 3, 2) float32: per centre, then constant and slopes.
    """

    centres: Float
    weights: Float

    def at(self, x: Float, y: Float) -> Float:
        """Evaluate at points given by two arrays of one shape; (..., 2) float32."""
        points = np.stack([x.ravel(), y.ravel()], axis=1)
        count = len(self.centres)
        out = _kernel(points, self.centres) @ self.weights[:count]
        out += points @ self.weights[count + 1 :] + self.weights[count]
        return out.reshape(*x.shape, 2)


def fit(points: Float, values: Float) -> ThinPlate:
    """
    Fit a slightly smoothing spline.

    Args:
        points: (N, 2) float32, about -1..1.
        values: (N, 2) float32.
    """
    count = len(points)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(points, points)
    system[range(count), range(count)] += _SMOOTHING
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :] = points
    system[count + 1 :, :count] = points.T
    right = np.zeros((count + 3, 2))
    right[:count] = values
    weights = np.linalg.solve(system, right)
    return ThinPlate(points.astype(np.float32), weights.astype(np.float32))


def _kernel(a: Float, b: Float) -> Float:
    """r^2 log r^2 between all pairs."""
    squares = np.square(a[:, None, 0] - b[None, :, 0]) + np.square(a[:, None, 1] - b[None, :, 1])
    return squares * np.log(squares + np.float32(1e-12))
