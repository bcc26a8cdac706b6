"""Drawing the mouth interior: teeth, tongue, cavity and shadow, composed from front to back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.numeric import scratch_buffer, smoothstep, smoothstep_scalar
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid, blur_mask
from musetalk_core.engines.viseme.target_shape import TargetShape
from musetalk_core.engines.viseme.teeth import UPPER_EDGE, AlignedTeeth, detail_level
from musetalk_core.engines.viseme.tooth_rows import LOWER, UPPER, place_row
from musetalk_core.types import Float

_CAVITY, _TONGUE, _LOWER_TEETH, _UPPER_TEETH, _REFERENCE_TEETH, _LINE, _ALPHA = 0, 1, 2, 3, slice(4, 7), 7, 8
_PLANE_COUNT = 9
_BEHIND_REFERENCE: Final = 0.9
"""Brightness of the teeth that are drawn where the reference shows none, at the sides."""
_LOWER_EDGE: Final = 0.006
"""The same for the lower teeth while the jaw is shut."""
_LOWER_TEETH_LIGHT: Final = np.array([0.50, 0.56, 0.66], np.float32)
"""Light on the lower teeth, BGR: what comes from lips and tongue is reddish."""
_LOWER_TEETH_SHARE: Final = 0.7
_MIN_LOWER_TEETH_GAP, _FULL_LOWER_TEETH_GAP = 0.035, 0.10
_SHADOW_COLOUR: Final = 0.9
"""Share of the cavity's color that shadows keep."""
_ROUND_SHADE: Final = np.array([0.42, 0.37, 0.28], np.float32)
"""Share of the light on the teeth that rounded lips, which protrude, take away; BGR."""
_ROUND_HIDING, _FULLY_ROUND = 0.8, 0.8
"""Share of the teeth that is hidden in the dark behind rounded lips, and the roundness from which it is."""
_SLIT_SHOWN, _FULLY_SHOWN_GAP = 0.4, 0.05
"""Share of the teeth that shows in a slit, which lets in little light, and the gap that shows all."""
_TIP_HEIGHT, _MAX_TIP_SHARE = 0.03, 0.55
"""Height of the tongue's tip above the lower lip, in face heights and at most as a share of the gap."""


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """
    The colors of one mouth, three BGR levels 0..255 each.

    Attributes:
        teeth:  upper teeth: their own tone if the clip shows any, else one that suits the skin.
        cavity: behind everything; not black, because a black area is the most visible artifact.
        tongue: a darker lip color.
        lip:    lip color; the line between closed lips is a darker version.
    """

    teeth: Sequence[float]
    cavity: Sequence[float]
    tongue: Sequence[float]
    lip: Sequence[float]


def palette_for(mouth: Mouth, teeth: AlignedTeeth | None = None) -> Palette:
    """Derive the colors of the mouth interior from skin, lips and teeth of the source frame."""
    skin = [max(v, 10.0) for v in mouth.record.skin.tolist()]
    lip, skin_level = mouth.record.lip.tolist(), sum(skin) / 3
    cavity_share = 0.20 + 0.06 * (1 - detail_level(mouth))
    drawn_tone = [min(skin_level * 1.18 * (v / skin_level) ** 0.6, 235.0) for v in skin]
    return Palette(
        teeth=drawn_tone if teeth is None else teeth.tone.tolist(),
        cavity=[cavity_share * v * share + 4 for v, share in zip(lip, (0.66, 0.62, 1.0), strict=True)],
        tongue=[v * share for v, share in zip(lip, (0.58, 0.54, 0.74), strict=True)],
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
        palette_for(mouth, None if opening is None else opening.teeth),
        gain * np.float32(strength),
        1 - _ROUND_SHADE * np.float32(shape.roundness),
    )
    return mixed.reshape(grid.rows, grid.columns, 4)


def _plane_colours(palette: Palette, gain: Float, light: Float) -> Float:
    """Return (9, 4) float32: what each plane adds to blue, green, red and alpha."""
    out = np.zeros((_PLANE_COUNT, 4), np.float32)
    teeth = np.array(palette.teeth, np.float32) * light
    out[_CAVITY, :3], out[_TONGUE, :3], out[_UPPER_TEETH, :3] = palette.cavity, palette.tongue, teeth
    out[_LOWER_TEETH, :3] = teeth * _LOWER_TEETH_LIGHT
    out[_LINE, :3] = [0.42 * v for v in palette.lip]
    out[_REFERENCE_TEETH, :3] = np.diag(gain * light)
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
    lit = remaining_light * _shading(mouth, shape.gap, grid, opening.mask, y, top)
    # shadows take on the color of the cavity: grey ones look like ink
    planes[_CAVITY] = (remaining_light - lit) * np.float32(_SHADOW_COLOUR)
    edge = opening.teeth.edge if opening.teeth is not None else float(mouth.seam[5, 1]) + UPPER_EDGE
    planes[_TONGUE] = 0
    if shape.tongue > 0:
        # before the lower teeth; the upper ones rest on the tip if they fill the opening
        tip = bottom - min(_TIP_HEIGHT, _MAX_TIP_SHARE * shape.gap)
        weight = shape.tongue * smoothstep_scalar(shape.gap / _TIP_HEIGHT)
        planes[_TONGUE] = lit * _tongue_tip_weight(x, y, min(edge, tip)) * np.float32(weight)
        lit -= planes[_TONGUE]
    lit = _fill_upper_teeth(planes, lit, grid, mouth, shape, opening.teeth, edge)
    lit = _fill_lower_teeth(planes, lit, grid, mouth, shape)
    tongue = _tongue_weight(distance, squared, y, bottom, shape.gap)
    tongue *= lit
    planes[_TONGUE] += tongue
    planes[_CAVITY] += lit - tongue


def _fill_upper_teeth(
    planes: Float,
    light: Float,
    grid: SamplingGrid,
    mouth: Mouth,
    shape: TargetShape,
    teeth: AlignedTeeth | None,
    edge: float,
) -> Float:
    """Write the clip's own teeth, and drawn ones where it shows none; return the light behind them."""
    shown = _SLIT_SHOWN + (1 - _SLIT_SHOWN) * smoothstep_scalar(shape.gap / _FULLY_SHOWN_GAP)
    shown *= 1 - _ROUND_HIDING * smoothstep_scalar(shape.roundness / _FULLY_ROUND)
    brightness = 1.0
    if teeth is None:
        planes[_REFERENCE_TEETH] = 0
    else:
        uncovered = light * np.float32(shown)
        for plane, reference_plane in zip(planes[_REFERENCE_TEETH], teeth.planes, strict=False):
            np.multiply(reference_plane, uncovered, out=plane)
        uncovered *= teeth.planes[3]
        light = np.asarray(light - uncovered * np.float32(teeth.strength), np.float32)
        brightness = _BEHIND_REFERENCE
    share = shown * detail_level(mouth) * smoothstep_scalar(shape.gap / 0.02)
    drawn, alpha = place_row(grid, mouth, UPPER, edge)
    np.multiply(drawn, light * np.float32(brightness * share), out=planes[_UPPER_TEETH])
    behind_teeth = np.asarray(light - light * alpha * np.float32(share), np.float32)
    # teeth in the shade take on the color of the cavity; grey ones would look dead
    planes[_CAVITY] += light - behind_teeth - planes[_UPPER_TEETH]
    return behind_teeth


def _fill_lower_teeth(
    planes: Float, light: Float, grid: SamplingGrid, mouth: Mouth, shape: TargetShape
) -> Float:
    """Write the lower teeth, which follow the jaw; return the light behind them."""
    planes[_LOWER_TEETH] = 0
    visible = (shape.gap - _MIN_LOWER_TEETH_GAP) / (_FULL_LOWER_TEETH_GAP - _MIN_LOWER_TEETH_GAP)
    share = np.float32(_LOWER_TEETH_SHARE * detail_level(mouth) * smoothstep_scalar(visible))
    if share <= 0:
        return light
    edge = float(mouth.seam[5, 1]) + _LOWER_EDGE + shape.jaw_drop
    drawn, alpha = place_row(grid, mouth, LOWER, edge)
    np.multiply(drawn, light * share, out=planes[_LOWER_TEETH])
    return np.asarray(light - light * alpha * share, np.float32)


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
    dome = squared * np.float32(-0.55 * gap / 0.85**2) + np.float32(0.55 * gap - bottom)
    dome += y
    weight = smoothstep(dome * np.float32(1 / 0.035))
    weight *= smoothstep(distance * np.float32(-1 / 0.25) + np.float32(0.85 / 0.25))
    return weight * np.float32(0.85)


def _tongue_tip_weight(x: Float, y: Float, top: float) -> Float:
    """Return the weight of a tongue whose tip is at height `top`, as in th, l and d."""
    width = np.float32(0.065)
    edge = np.square(x / width) * np.float32(0.02) + np.float32(top - 0.004)
    weight = smoothstep(np.asarray((y - edge) * np.float32(1 / 0.010), np.float32))
    weight *= smoothstep((width - np.abs(x)) * np.float32(1 / 0.02))
    return weight * np.float32(0.85)
