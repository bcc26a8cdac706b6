"""Drawing the mouth interior: cavity, tongue, teeth and shadow, composed from front to back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.numeric import scratch_buffer, smoothstep, smoothstep_scalar
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid
from musetalk_core.engines.viseme.soft_masks import blur_mask
from musetalk_core.engines.viseme.target_shape import TargetShape
from musetalk_core.engines.viseme.teeth import AlignedTeeth, detail_level
from musetalk_core.types import Float

_CAVITY, _TONGUE, _LOWER_TEETH, _UPPER_TEETH, _REFERENCE_TEETH, _LINE, _ALPHA = 0, 1, 2, 3, slice(4, 7), 7, 8
_PLANE_COUNT = 9


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
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


def palette_for(mouth: Mouth) -> Palette:
    """Derive the colors of the mouth interior from the skin and lip colors of the source frame."""
    skin = [max(v, 10.0) for v in mouth.record.skin.tolist()]
    lip, skin_level = mouth.record.lip.tolist(), sum(skin) / 3
    cavity_share = 0.24 + 0.06 * (1 - detail_level(mouth))
    return Palette(
        teeth=[min(skin_level * 1.06 * (v / skin_level) ** 0.45, 235.0) for v in skin],
        cavity=[cavity_share * v * share + 4 for v, share in zip(lip, (0.7, 0.7, 1.0), strict=True)],
        tongue=[v * share for v, share in zip(lip, (0.52, 0.52, 0.70), strict=True)],
        lip=lip,
    )


@dataclass(frozen=True, slots=True, eq=False)
class MouthOpening:
    """
    The opening between the lips.

    Attributes:
        mask:  (rows, columns) float32, coverage 0..1.
        alpha: (rows, columns) float32, visibility 0..1.
        teeth: real teeth of the clip; None if it shows none.
    """

    mask: Float
    alpha: Float
    teeth: AlignedTeeth | None


def draw_mouth_interior(
    grid: SamplingGrid, mouth: Mouth, shape: TargetShape, opening: MouthOpening | None, line: Float | None
) -> Float:
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
    planes = scratch_buffer("planes", _PLANE_COUNT, grid.rows, grid.columns)
    remaining_light = np.float32(1) if line is None else 1 - line
    planes[_LINE] = 0 if line is None else line
    planes[_ALPHA] = planes[_LINE]
    gain, strength = np.ones(3, np.float32), 0.0
    if opening is None:
        planes[:_LINE] = 0
    else:
        remaining_light = remaining_light * opening.alpha
        planes[_ALPHA] += remaining_light
        _fill_planes(planes, remaining_light, grid, mouth, shape, opening)
        if opening.teeth is not None:
            gain, strength = opening.teeth.gain, opening.teeth.strength
    mixed = planes.reshape(_PLANE_COUNT, -1).T @ _plane_colours(
        palette_for(mouth), gain * np.float32(strength)
    )
    return mixed.reshape(grid.rows, grid.columns, 4)


def _plane_colours(palette: Palette, gain: Float) -> Float:
    """Return (9, 4) float32: what each plane adds to blue, green, red and alpha."""
    out = np.zeros((_PLANE_COUNT, 4), np.float32)
    out[_CAVITY, :3], out[_TONGUE, :3], out[_UPPER_TEETH, :3] = palette.cavity, palette.tongue, palette.teeth
    out[_LOWER_TEETH, :3] = [0.85 * v for v in palette.teeth]
    out[_LINE, :3] = [0.42 * v for v in palette.lip]
    out[_REFERENCE_TEETH, :3] = np.diag(gain)
    out[_ALPHA, 3] = 1
    return out


def _fill_planes(
    planes: Float,
    remaining_light: Float,
    grid: SamplingGrid,
    mouth: Mouth,
    shape: TargetShape,
    opening: MouthOpening,
) -> None:
    """Divide the remaining light between the layers of the mouth interior; writes into `planes`."""
    x, y = grid.face_coordinates(mouth.pose)
    x -= np.float32(mouth.middle)  # face units from the middle of the mouth
    half = max(1e-3, float(shape.upper[10, 0] - shape.upper[0, 0]) / 2)
    # 0 in the middle .. 1 at the corners of the target mouth
    distance = np.minimum(np.abs(x) * np.float32(1 / half), np.float32(1.2))
    squared = np.square(distance)
    top, bottom = float(shape.upper[5, 1]), float(shape.lower[5, 1])
    remaining_light = remaining_light * _shading(mouth, shape.gap, grid, opening.mask, y, top)
    if opening.teeth is None:
        planes[_REFERENCE_TEETH] = 0
    else:
        for plane, reference_plane in zip(planes[_REFERENCE_TEETH], opening.teeth.planes, strict=False):
            np.multiply(reference_plane, remaining_light, out=plane)
        remaining_light -= remaining_light * opening.teeth.planes[3] * np.float32(opening.teeth.strength)
    edge = float(mouth.seam[5, 1]) + 0.009
    remaining_light -= np.multiply(
        remaining_light, _upper_teeth_weight(distance, squared, y, edge, shape.gap), out=planes[_UPPER_TEETH]
    )
    planes[_UPPER_TEETH] *= _tooth_brightness(x, squared)
    planes[_LOWER_TEETH] = 0
    if shape.gap > 0.05:
        remaining_light -= np.multiply(
            remaining_light,
            _lower_teeth_weight(distance, squared, y, bottom, shape.gap),
            out=planes[_LOWER_TEETH],
        )
    remaining_light -= np.multiply(
        remaining_light, _tongue_weight(distance, squared, y, bottom, shape.gap), out=planes[_TONGUE]
    )
    planes[_CAVITY] = remaining_light


def _shading(mouth: Mouth, gap: float, grid: SamplingGrid, mask: Float, y: Float, top: float) -> Float:
    """Return (rows, columns) float32 0..1: darker under the upper lip and towards the edges."""
    depth = y - np.float32(top)
    darkest = np.minimum(np.maximum(depth * np.float32(0.25 / max(gap, 0.01)), 0), np.float32(0.25))
    darkest += np.float32(0.42 + 0.28 * (1 - detail_level(mouth)))
    blurred_mask = blur_mask(mask, grid, mouth.pose, min(0.009, 0.12 * gap + 0.001))
    blurred_mask -= np.float32(0.35)
    blurred_mask *= np.float32(1 / 0.55)
    light = smoothstep(blurred_mask)
    light *= 1 - darkest
    light += darkest
    depth *= np.float32(1 / min(0.022, 0.4 * gap + 0.002))
    depth_light = smoothstep(depth)
    depth_light *= np.float32(0.20)
    depth_light += np.float32(0.80)
    light *= depth_light
    return light


def _tongue_weight(distance: Float, squared: Float, y: Float, bottom: float, gap: float) -> Float:
    dome = squared * np.float32(-0.50 * gap / 0.85**2) + np.float32(0.50 * gap - bottom)
    dome += y
    weight = smoothstep(dome * np.float32(1 / 0.03))
    weight *= smoothstep(distance * np.float32(-1 / 0.25) + np.float32(0.85 / 0.25))
    return weight * np.float32(0.85)


def _lower_teeth_weight(distance: Float, squared: Float, y: Float, bottom: float, gap: float) -> Float:
    above = y - np.float32(bottom - 0.022)
    above -= squared * np.float32(0.010)
    weight = smoothstep(above * np.float32(1 / 0.008))
    weight *= smoothstep(distance * np.float32(-1 / 0.2) + np.float32(0.62 / 0.2))
    return weight * np.float32(0.42 * smoothstep_scalar((gap - 0.05) / 0.05))


def _upper_teeth_weight(distance: Float, squared: Float, y: Float, edge: float, gap: float) -> Float:
    """Return the weight of the upper teeth, fixed to the skull: the lip slides over them."""
    below = squared * np.float32(-0.020 / 0.009) + np.float32(edge / 0.009 + 0.5)
    below -= y * np.float32(1 / 0.009)
    weight = smoothstep(below)
    weight *= smoothstep(distance * np.float32(-1 / 0.3) + np.float32(0.85 / 0.3))
    return weight * np.float32(0.35 + 0.65 * smoothstep_scalar(gap / 0.05))


def _tooth_brightness(x: Float, squared: Float) -> Float:
    """Return the brightness of the upper teeth: darker to the sides and between teeth."""
    phase = x * np.float32(1 / 0.026)
    phase -= np.rint(phase)
    lines = np.exp(np.square(phase) * np.float32(-1 / 0.004))
    return (1 - np.float32(0.55) * squared) * (1 - np.float32(0.10) * lines)
