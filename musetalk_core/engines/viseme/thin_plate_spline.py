"""Thin-plate splines: smooth interpolation of displacements between control points (Bookstein 1989)."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from musetalk_core.engines.viseme.numeric import PLANE, POINT_COUNT
from musetalk_core.types import Float

Float64Array = npt.NDArray[np.float64]

_REGULARIZATION: Final = 2e-4
_EPSILON: Final = np.float32(1e-12)
_POINT_ROWS: Final = np.concatenate([np.arange(PLANE.start), np.arange(PLANE.stop, POINT_COUNT)])


def distance_terms(centres: Float) -> Float:
    """Return (4, 108) float32 terms of the squared distances to the centers, (108, 2) float32."""
    x, y = centres.T
    return np.stack([x * x + y * y, -2 * x, -2 * y, np.ones_like(x)])


def evaluate_basis(x: Float, y: Float, terms: Float) -> Float:
    """
    Evaluate the spline's basis functions.

    Args:
        x:     (P,) float32, about -1..1.
        y:     (P,) float32.
        terms: (4, 108) float32, `distance_terms` of the centers.

    Returns:
        (P, 108) float32: r^2 log r^2 to each center; constant and slopes in the plane's columns.
    """
    # |p - c|^2 = |p|^2 - 2 p.c + |c|^2 as one matrix product
    powers = np.stack([np.ones_like(x), x, y, x * x + y * y], axis=1)
    values = _to_radial_basis(powers @ terms)
    values[:, PLANE] = powers[:, :3]
    return values


def spline_equations(centres: Float) -> Float64Array:
    """
    Return the (108, 108) float64 equation system of slightly smoothing splines.

    Any square slice that includes the plane's rows is a complete system.
    """
    x, y = np.ascontiguousarray(centres.T)
    across, down = x[:, None] - x, y[:, None] - y
    equations = _to_radial_basis(across * across + down * down).astype(np.float64)
    equations[_POINT_ROWS, _POINT_ROWS] += _REGULARIZATION
    equations[PLANE] = np.stack([np.ones_like(x), x, y])
    equations[:, PLANE] = equations[PLANE].T
    equations[PLANE, PLANE] = 0
    return equations


def _to_radial_basis(squared_distances: Float) -> Float:
    """Compute r^2 log r^2 from squared distances in place."""
    np.abs(squared_distances, out=squared_distances)
    squared_distances += _EPSILON
    # OpenCV's logarithm is several times as fast as numpy's.
    squared_distances *= cv2.log(squared_distances)
    return squared_distances


def solve_weights(equations: Float64Array, values: npt.NDArray[np.floating]) -> Float:
    """
    Return the (N, 2) float32 spline weights for (N, N) equations and (N, 2) values.

    The values are zero in the plane's rows.
    """
    # OpenCV's solver stays on the calling thread; a BLAS starts others even for a system this small.
    _, weights = cv2.solve(equations, values.astype(np.float64), flags=cv2.DECOMP_LU)
    return np.asarray(weights, np.float32)
