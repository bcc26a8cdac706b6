"""Smoothstep functions: soft transitions from 0 to 1."""

import numpy as np

from musetalk_core.types import Float


def smoothstep(x: Float) -> Float:
    """Return 3x^2 - 2x^3 with x clamped to 0..1; float32, the shape of `x`."""
    t = np.maximum(x, 0, dtype=np.float32)
    np.minimum(t, 1, out=t)
    out = t * t
    t *= -2
    t += 3
    out *= t
    return out


def smoothstep_scalar(x: float) -> float:
    """Return 3x^2 - 2x^3 with x clamped to 0..1, for one number."""
    t = min(max(x, 0.0), 1.0)
    return t * t * (3 - 2 * t)
