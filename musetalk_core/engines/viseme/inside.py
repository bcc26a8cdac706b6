"""The inside of the mouth: cavity, tongue, teeth and shadow, from back to front."""

from dataclasses import dataclass

import numpy as np

from musetalk_core.engines.viseme.masks import blurred
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.shape import Shape
from musetalk_core.engines.viseme.steps import smooth01, step
from musetalk_core.engines.viseme.teeth import Teeth, largeness
from musetalk_core.types import Float


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """
    Colours of one mouth, (3,) float32 BGR levels.

    Attributes:
        cavity: behind everything; not black, a black slab is the most visible mistake.
    """

    teeth: Float
    cavity: Float
    tongue: Float
    lip: Float


def paint_of(mouth: Mouth) -> Paint:
    """Derive the colours inside the mouth from skin and lips."""
    skin, lip = np.maximum(mouth.record.skin, 10), mouth.record.lip
    light = float(skin.mean())
    return Paint(
        teeth=np.clip(light * 1.06 * (skin / light) ** 0.45, 0, 235).astype(np.float32),
        cavity=((0.24 + 0.06 * (1 - largeness(mouth))) * lip * np.array([0.7, 0.7, 1.0]) + 4).astype(
            np.float32
        ),
        tongue=(lip * np.array([0.52, 0.52, 0.70])).astype(np.float32),
        lip=lip.astype(np.float32),
    )


def inside(mouth: Mouth, shape: Shape, raster: Raster, mask: Float, teeth: Teeth | None) -> Float:
    """
    Paint the inside of a mouth.

    Args:
        mouth:  the source.
        shape:  the wanted edges.
        raster: where to paint.
        mask:   (rows, columns) float32, the opening between the lips.
        teeth:  the clip's own teeth, if it shows any.

    Returns:
        (rows, columns, 3) float32 BGR levels; only what `mask` covers is of use.
    """
    paint = paint_of(mouth)
    x, y = raster.local(mouth.pose)
    x -= mouth.middle
    half = max(1e-3, float(shape.upper[10, 0] - shape.upper[0, 0]) / 2)
    along = np.minimum(np.abs(x) * np.float32(1 / half), 1.2)
    out = np.empty((*x.shape, 3), np.float32)
    out[:] = paint.cavity
    top, low = float(shape.upper[5, 1]), float(shape.lower[5, 1])
    _tongue(out, paint, along, y, low, shape.gap)
    _lower_teeth(out, paint, along, y, low, shape.gap)
    _upper_teeth(out, paint, along, x, y, float(mouth.seam[5, 1]), shape.gap)
    if teeth is not None:
        _over(out, teeth.picture, teeth.weight)
    out *= _shade(mouth, shape, raster, mask, y, top)[..., None]
    return out


def _over(under: Float, colour: Float, weight: Float) -> None:
    under += weight[..., None] * (colour - under)


def _tongue(out: Float, paint: Paint, along: Float, y: Float, low: float, gap: float) -> None:
    dome = low - 0.50 * gap * (1 - np.square(along / 0.85))
    _over(out, paint.tongue, smooth01((y - dome) / 0.03) * smooth01((0.85 - along) / 0.25) * 0.85)


def _lower_teeth(out: Float, paint: Paint, along: Float, y: Float, low: float, gap: float) -> None:
    if gap <= 0.05:
        return
    edge = low - 0.022 + 0.010 * np.square(along)
    weight = smooth01((y - edge) / 0.008) * smooth01((0.62 - along) / 0.2)
    _over(out, 0.85 * paint.teeth, weight * (0.42 * step((gap - 0.05) / 0.05)))


def _upper_teeth(out: Float, paint: Paint, along: Float, x: Float, y: Float, seam: float, gap: float) -> None:
    """Draw them fixed to the skull, not to the lip: the lip slides over them."""
    squared = np.square(along)
    edge = seam + 0.009 - 0.020 * squared
    lines = 1 - 0.10 * np.exp(np.square(np.mod(x / 0.026 + 0.5, 1) - 0.5) / -0.004)
    weight = smooth01((edge - y) / 0.009 + 0.5) * smooth01((0.85 - along) / 0.3)
    colour = (paint.teeth * ((1 - 0.55 * squared) * lines)[..., None]).astype(np.float32)
    _over(out, colour, weight * (0.35 + 0.65 * step(gap / 0.05)))


def _shade(mouth: Mouth, shape: Shape, raster: Raster, mask: Float, y: Float, top: float) -> Float:
    """Darken under the upper lip and towards the edges."""
    gap = shape.gap
    floor = 0.42 + 0.28 * (1 - largeness(mouth)) + 0.25 * np.clip((y - top) / max(gap, 0.01), 0, 1)
    soft = blurred(mask, raster, mouth.pose, min(0.009, 0.12 * gap + 0.001))
    light = floor + (1 - floor) * smooth01((soft - 0.35) / 0.55)
    light = light * (0.80 + 0.20 * smooth01((y - top) / min(0.022, 0.4 * gap + 0.002)))
    return light.astype(np.float32)
