"""Drawing the mouth interior: cavity, tongue, teeth and shadow, composed from front to back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musetalk_core.engines.viseme.masks import blurred
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.scratch import scratch
from musetalk_core.engines.viseme.shape import Shape
from musetalk_core.engines.viseme.steps import smooth01, step
from musetalk_core.engines.viseme.teeth import Borrowed, largeness
from musetalk_core.types import Float

_CAVITY, _TONGUE, _LOWER, _UPPER, _BORROWED, _LINE, _ALPHA = 0, 1, 2, 3, slice(4, 7), 7, 8
_PLANES = 9


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """
    The colors of one mouth, three BGR levels 0..255 each.

    Attributes:
        teeth:  upper teeth; lower ones are drawn darker.
        cavity: behind everything; not black, because a black area is the most visible artifact.
        tongue: a darker lip color.
        lip:    lip color; the line between closed lips is a darker version.
    """

    teeth: Sequence[float]
    cavity: Sequence[float]
    tongue: Sequence[float]
    lip: Sequence[float]


def paint_of(mouth: Mouth) -> Paint:
    """Derive the colors of the mouth interior from the skin and lip colors of the source frame."""
    skin = [max(v, 10.0) for v in mouth.record.skin.tolist()]
    lip, light = mouth.record.lip.tolist(), sum(skin) / 3
    dark = 0.24 + 0.06 * (1 - largeness(mouth))
    return Paint(
        teeth=[min(light * 1.06 * (v / light) ** 0.45, 235.0) for v in skin],
        cavity=[dark * v * share + 4 for v, share in zip(lip, (0.7, 0.7, 1.0), strict=True)],
        tongue=[v * share for v, share in zip(lip, (0.52, 0.52, 0.70), strict=True)],
        lip=lip,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Hole:
    """
    The opening between the lips.

    Attributes:
        mask:  (rows, columns) float32, coverage 0..1.
        alpha: (rows, columns) float32, visibility 0..1.
        teeth: real teeth of the clip; None if it shows none.
    """

    mask: Float
    alpha: Float
    teeth: Borrowed | None


def drawn(raster: Raster, mouth: Mouth, shape: Shape, hole: Hole | None, line: Float | None) -> Float:
    """
    Draw the mouth interior, and over it the line where the lips meet.

    Each layer is a plane of weights. From front to back, each layer takes its share of the remaining light;
    all colors are mixed at the end in one matrix product.

    Args:
        grid:    the sampling grid to draw on.
        mouth:   the source mouth.
        shape:   the target lip edges.
        opening: the opening; None: closed.
        line:    (rows, columns) float32, the line's alpha 0..1; None: no line.

    Returns:
        (rows, columns, 4) float32: BGR levels times alpha, and alpha 0..1.
    """
    planes = scratch("planes", _PLANES, raster.rows, raster.columns)
    left = np.float32(1) if line is None else 1 - line
    planes[_LINE] = 0 if line is None else line
    planes[_ALPHA] = planes[_LINE]
    gain, strength = np.ones(3, np.float32), 0.0
    if hole is None:
        planes[:_LINE] = 0
    else:
        left = left * hole.alpha
        planes[_ALPHA] += left
        _fill(planes, left, raster, mouth, shape, hole)
        if hole.teeth is not None:
            gain, strength = hole.teeth.gain, hole.teeth.strength
    flat = planes.reshape(_PLANES, -1).T @ _colours(paint_of(mouth), gain * np.float32(strength))
    return flat.reshape(raster.rows, raster.columns, 4)


def _colours(paint: Paint, gain: Float) -> Float:
    """Return (9, 4) float32: what each plane adds to blue, green, red and alpha."""
    out = np.zeros((_PLANES, 4), np.float32)
    out[_CAVITY, :3], out[_TONGUE, :3], out[_UPPER, :3] = paint.cavity, paint.tongue, paint.teeth
    out[_LOWER, :3] = [0.85 * v for v in paint.teeth]
    out[_LINE, :3] = [0.42 * v for v in paint.lip]
    out[_BORROWED, :3] = np.diag(gain)
    out[_ALPHA, 3] = 1
    return out


def _fill(planes: Float, left: Float, raster: Raster, mouth: Mouth, shape: Shape, hole: Hole) -> None:
    """Divide the remaining light between the layers of the mouth interior; writes into `planes`."""
    x, y = raster.local(mouth.pose)
    x -= np.float32(mouth.middle)  # face units from the middle of the mouth
    half = max(1e-3, float(shape.upper[10, 0] - shape.upper[0, 0]) / 2)
    # 0 in the middle .. 1 at the corners of the target mouth
    along = np.minimum(np.abs(x) * np.float32(1 / half), np.float32(1.2))
    squared = np.square(along)
    top, low = float(shape.upper[5, 1]), float(shape.lower[5, 1])
    left = left * _shade(mouth, shape.gap, raster, hole.mask, y, top)
    if hole.teeth is None:
        planes[_BORROWED] = 0
    else:
        for plane, borrowed in zip(planes[_BORROWED], hole.teeth.planes, strict=False):
            np.multiply(borrowed, left, out=plane)
        left -= left * hole.teeth.planes[3] * np.float32(hole.teeth.strength)
    edge = float(mouth.seam[5, 1]) + 0.009
    left -= np.multiply(left, _upper_teeth(along, squared, y, edge, shape.gap), out=planes[_UPPER])
    planes[_UPPER] *= _lines(x, squared)
    planes[_LOWER] = 0
    if shape.gap > 0.05:
        left -= np.multiply(left, _lower_teeth(along, squared, y, low, shape.gap), out=planes[_LOWER])
    left -= np.multiply(left, _tongue(along, squared, y, low, shape.gap), out=planes[_TONGUE])
    planes[_CAVITY] = left


def _shade(mouth: Mouth, gap: float, raster: Raster, mask: Float, y: Float, top: float) -> Float:
    """Return (rows, columns) float32 0..1: darker under the upper lip and towards the edges."""
    depth = y - np.float32(top)
    floor = np.minimum(np.maximum(depth * np.float32(0.25 / max(gap, 0.01)), 0), np.float32(0.25))
    floor += np.float32(0.42 + 0.28 * (1 - largeness(mouth)))
    soft = blurred(mask, raster, mouth.pose, min(0.009, 0.12 * gap + 0.001))
    soft -= np.float32(0.35)
    soft *= np.float32(1 / 0.55)
    light = smooth01(soft)
    light *= 1 - floor
    light += floor
    depth *= np.float32(1 / min(0.022, 0.4 * gap + 0.002))
    deep = smooth01(depth)
    deep *= np.float32(0.20)
    deep += np.float32(0.80)
    light *= deep
    return light


def _tongue(along: Float, squared: Float, y: Float, low: float, gap: float) -> Float:
    dome = squared * np.float32(-0.50 * gap / 0.85**2) + np.float32(0.50 * gap - low)
    dome += y
    weight = smooth01(dome * np.float32(1 / 0.03))
    weight *= smooth01(along * np.float32(-1 / 0.25) + np.float32(0.85 / 0.25))
    return weight * np.float32(0.85)


def _lower_teeth(along: Float, squared: Float, y: Float, low: float, gap: float) -> Float:
    above = y - np.float32(low - 0.022)
    above -= squared * np.float32(0.010)
    weight = smooth01(above * np.float32(1 / 0.008))
    weight *= smooth01(along * np.float32(-1 / 0.2) + np.float32(0.62 / 0.2))
    return weight * np.float32(0.42 * step((gap - 0.05) / 0.05))


def _upper_teeth(along: Float, squared: Float, y: Float, edge: float, gap: float) -> Float:
    """Return the weight of the upper teeth, fixed to the skull: the lip slides over them."""
    below = squared * np.float32(-0.020 / 0.009) + np.float32(edge / 0.009 + 0.5)
    below -= y * np.float32(1 / 0.009)
    weight = smooth01(below)
    weight *= smooth01(along * np.float32(-1 / 0.3) + np.float32(0.85 / 0.3))
    return weight * np.float32(0.35 + 0.65 * step(gap / 0.05))


def _lines(x: Float, squared: Float) -> Float:
    """Return the brightness of the upper teeth: darker to the sides and between teeth."""
    turns = x * np.float32(1 / 0.026)
    turns -= np.rint(turns)
    lines = np.exp(np.square(turns) * np.float32(-1 / 0.004))
    return (1 - np.float32(0.55) * squared) * (1 - np.float32(0.10) * lines)
