"""The teeth reference of a shot: one frame's teeth, shown in all frames so that teeth do not flicker."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.engine import FaceFrame
from musetalk_core.engines.viseme.masks import blurred, filled
from musetalk_core.engines.viseme.mouth import Mouth, mouth_of
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.steps import smooth01, step
from musetalk_core.types import Box, Float

_TINY_PX, _LARGE_PX = 14.0, 24.0
"""Mouth widths: below the first, teeth and shadow are not drawn; above the second, fully."""
_SURE: Final = 1.5
"""Reference pixels keep this distance from the lips, as a multiple of what was trimmed from them ..."""
_GROWN: Final = 0.3
"""... but below the upper lip they are extended up to here in their own colors, to avoid a dark rim."""
_REACH: Final = 0.012
"""How far colors are extended (sigma, in H)."""
_PAD: Final = 0.03
_BEND: Final = np.stack([np.zeros(11), np.sin(np.linspace(0, np.pi, 11)) ** 0.5], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Teeth:
    """
    The teeth of a reference frame, not yet aligned.

    Attributes:
        mouth:              of the reference frame.
        grid:               over the reference frame's crop.
        premultiplied_bgra: (rows, columns, 4) float32: BGR levels times alpha, and alpha 0..1.
    """

    mouth: Mouth
    raster: Raster
    picture: Float


def largeness(mouth: Mouth) -> float:
    """Return 0 for a mouth too small for details .. 1 for one that can show them."""
    width = 2 * mouth.half_width * mouth.pose.height
    return step((width - _TINY_PX) / (_LARGE_PX - _TINY_PX))


@lru_cache(maxsize=16)
def teeth_of(face: FaceFrame, row: bytes) -> Teeth | None:
    """
    Cut out the teeth of a shot's reference frame; cached, so each shot costs this once.

    Args:
        face: the reference frame.
        row:  (33,) float32 as bytes, its smoothed features.

    Returns:
        None if its mouth is outside the crop.
    """
    mouth = mouth_of(face, np.frombuffer(row, np.float32))
    corners = mouth.pose.pixels(np.vstack([mouth.edges.upper, mouth.edges.lower]))
    margin = _PAD * mouth.pose.height
    low, high = np.floor(corners.min(axis=0) - margin), np.ceil(corners.max(axis=0) + margin)
    area = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clipped(*face.box.size)
    if min(area.size) < 2:
        return None
    scale = 3 if mouth.pose.height < 110 else 2 if mouth.pose.height < 220 else 1
    raster = Raster(area, area.size[0] * scale, area.size[1] * scale)
    crop = face.crop[area.slices()]
    picture = cv2.resize(crop, (raster.columns, raster.rows), interpolation=cv2.INTER_LINEAR)
    picture = np.asarray(picture, np.float32)
    sure = _between_lips(raster, mouth, _SURE) * _no_lip(picture, mouth)
    sure = blurred(sure, raster, mouth.pose, 0.004)
    grown = blurred(_between_lips(raster, mouth, _GROWN), raster, mouth.pose, 0.003)[..., None]
    colours = _continued(picture, sure, raster, mouth) * grown
    return Teeth(mouth, raster, np.concatenate([colours, grown], axis=2))


@dataclass(frozen=True, slots=True, eq=False)
class Borrowed:
    """
    Reference teeth, aligned to a sampling grid.

    Attributes:
        planes:   blue, green, red (levels times alpha) and alpha, (rows, columns) float32 each.
        gain:     (3,) float32, factors of the BGR levels that match the target frame's skin.
        strength: 0..1, how much of them is visible.
    """

    planes: Sequence[Float]
    gain: Float
    strength: float


def borrowed(raster: Raster, mouth: Mouth, teeth: Teeth | None) -> Borrowed | None:
    """
    Align reference teeth to a frame at the nose base.

    Teeth are fixed to the skull and do not move with the lips.

    Args:
        grid:  the target grid.
        mouth: of the target frame.
        teeth: the shot's reference; None if it has none.

    Returns:
        None if there is no reference, or the mouth is too small to show teeth.
    """
    strength = largeness(mouth)
    if teeth is None or strength <= 0:
        return None
    size = raster.columns, raster.rows
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    lined_up = cv2.warpAffine(teeth.picture, _places(raster, mouth, teeth), size, flags=flags)
    gain = np.clip(mouth.record.skin / np.maximum(teeth.mouth.record.skin, 10), 0.8, 1.25)
    planes = [np.asarray(plane, np.float32) for plane in cv2.split(lined_up)]
    return Borrowed(planes, gain.astype(np.float32), strength)


def _places(raster: Raster, mouth: Mouth, teeth: Teeth) -> Float:
    """Return the (2, 3) float32 affine matrix from target grid cells to reference grid cells."""
    here, there = mouth.pose, teeth.mouth.pose
    turn = there.axes.T @ here.axes * np.float32(there.height / here.height)
    offset = there.axes.T @ (teeth.mouth.nose - mouth.nose) * np.float32(there.height)
    size, start = raster.cell, raster.first
    other_size, other_start = teeth.raster.cell, teeth.raster.first
    first = turn @ (start - here.centre) + offset + there.centre - other_start
    return np.column_stack([turn * size, first]).astype(np.float32) / other_size[:, None]


def _between_lips(raster: Raster, mouth: Mouth, distance: float) -> Float:
    """Fill the open mouth of the reference frame; (rows, columns) float32 0..1."""
    above, below = mouth.edges.trims
    upper = mouth.edges.upper + distance * above * _BEND
    lower = mouth.edges.lower - _SURE * below * _BEND
    return filled(raster, mouth.pose, upper.astype(np.float32), lower.astype(np.float32))


def _no_lip(picture: Float, other: Mouth) -> Float:
    """Return (rows, columns) float32: 0 for skin and lip colors .. 1 for teeth and dark areas."""
    light, least = picture.max(axis=2), picture.min(axis=2)
    skin, lip = _saturation(other.record.skin), _saturation(other.record.lip)
    usual = max(0.85 * skin, 0.5 * (0.6 * skin + lip))
    # saturated and not dark: skin or lip
    coloured = smooth01(((light - least) / np.maximum(light, 1) - usual) / 0.08)
    return 1 - coloured * smooth01((light - 0.45 * float(other.record.skin.max())) / 40)


def _saturation(colour: Float) -> float:
    return float(colour.max() - colour.min()) / max(float(colour.max()), 1.0)


def _continued(picture: Float, sure: Float, raster: Raster, mouth: Mouth) -> Float:
    """Replace pixels that are not certainly teeth by the blurred colors of the teeth beside them."""
    kept = sure[..., None]
    known = np.concatenate([picture * kept, kept], axis=2)
    cells = max(2.0, mouth.pose.height * raster.columns / raster.area.size[0] * _REACH)
    size = max(1, round(raster.columns / cells)), max(1, round(raster.rows / cells))
    small = cv2.GaussianBlur(cv2.resize(known, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    near = cv2.resize(small, (raster.columns, raster.rows), interpolation=cv2.INTER_LINEAR)
    # blurred colors divided by blurred weights: a normalized average of known pixels
    return (known[..., :3] + near[..., :3] / np.maximum(near[..., 3:], 1e-4) * (1 - kept)).astype(np.float32)
