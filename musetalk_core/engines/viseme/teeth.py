"""The teeth of one frame of a shot, lent to all its frames: own and painted teeth in turn would flicker."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from musetalk_core.engine import FaceFrame
from musetalk_core.engines.viseme.masks import blurred, filled
from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.steps import smooth01, step
from musetalk_core.types import Float, Image

_TINY_PX, _LARGE_PX = 14.0, 24.0
"""Width of a mouth under which teeth and shadow are not shown at all, and over which they are shown fully."""
_SURE: Final = 1.5
"""Borrowed pixels keep this far from the donor's lips, in what was trimmed off them ..."""
_GROWN: Final = 0.3
"""... but under the upper lip they are continued up to here in their own colours, or a dark rim shows."""
_REACH: Final = 0.012
"""How far (sigma, in H) colours are carried on."""
_BEND: Final = np.stack([np.zeros(11), np.sin(np.linspace(0, np.pi, 11)) ** 0.5], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Donor:
    """The frame whose teeth a shot borrows, and its mouth."""

    face: FaceFrame
    mouth: Mouth


@dataclass(frozen=True, slots=True, eq=False)
class Teeth:
    """
    Real teeth to show, lined up with a raster.

    Attributes:
        picture: (rows, columns, 3) float32 BGR.
        weight:  (rows, columns) float32, 0..1.
    """

    picture: Float
    weight: Float


def largeness(mouth: Mouth) -> float:
    """Give 0 for a mouth too small for details .. 1 for one that can show them."""
    width = 2 * mouth.half_width * mouth.pose.height
    return step((width - _TINY_PX) / (_LARGE_PX - _TINY_PX))


def borrowed(raster: Raster, mouth: Mouth, donor: Donor | None) -> Teeth | None:
    """
    Line up the donor's teeth at the nose base: they belong to the skull, so they stay where they are.

    Args:
        raster: where they are wanted.
        mouth:  of the frame that borrows.
        donor:  None = nobody lends.

    Returns:
        None where there is nothing to borrow, or the mouth is too small to show it.
    """
    strength = largeness(mouth)
    if donor is None or strength <= 0:
        return None
    other = donor.mouth
    picture = _lined_up(donor.face.crop, raster, mouth, other)
    sure = _between_lips(raster, mouth, other, _SURE) * _no_lip(picture, other)
    sure = blurred(sure, raster, mouth.pose, 0.004)
    grown = blurred(_between_lips(raster, mouth, other, _GROWN), raster, mouth.pose, 0.003)
    gain = np.clip(mouth.record.skin / np.maximum(other.record.skin, 10), 0.8, 1.25).astype(np.float32)
    return Teeth(_continued(picture, sure, raster, mouth) * gain, grown * strength)


def _lined_up(crop: Image, raster: Raster, mouth: Mouth, other: Mouth) -> Float:
    """(rows, columns, 3) float32: the donor's pixels where they belong in this frame."""
    corners = np.array([[0, 0], [raster.columns, 0], [0, raster.rows]], np.float32)
    width, height = raster.area.size
    scale = np.array([width / raster.columns, height / raster.rows])
    pixels = (corners + 0.5) * scale + np.array([raster.area.x1 - 0.5, raster.area.y1 - 0.5])
    offset = other.nose - mouth.nose
    source = other.pose.pixels((mouth.pose.local(pixels.astype(np.float32)) + offset).astype(np.float32))
    matrix = cv2.getAffineTransform(corners, source.astype(np.float32))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = raster.columns, raster.rows
    return cv2.warpAffine(crop, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _between_lips(raster: Raster, mouth: Mouth, other: Mouth, distance: float) -> Float:
    """Draw the donor's open mouth where it would be in this frame."""
    offset, (above, below) = other.nose - mouth.nose, other.edges.trims
    upper = other.edges.upper + distance * above * _BEND - offset
    lower = other.edges.lower - _SURE * below * _BEND - offset
    return filled(raster, mouth.pose, upper.astype(np.float32), lower.astype(np.float32))


def _no_lip(picture: Float, other: Mouth) -> Float:
    """Tell what is as coloured as skin or lips from teeth and from the dark: 0 .. 1."""
    light, least = picture.max(axis=2), picture.min(axis=2)
    skin, lip = _saturation(other.record.skin), _saturation(other.record.lip)
    usual = max(0.85 * skin, 0.5 * (0.6 * skin + lip))
    coloured = smooth01(((light - least) / np.maximum(light, 1) - usual) / 0.08)
    return 1 - coloured * smooth01((light - 0.45 * float(other.record.skin.max())) / 40)


def _saturation(colour: Float) -> float:
    return float(colour.max() - colour.min()) / max(float(colour.max()), 1.0)


def _continued(picture: Float, sure: Float, raster: Raster, mouth: Mouth) -> Float:
    """Replace what is not surely teeth by the colours of the teeth beside it."""
    kept = sure[..., None]
    known = np.concatenate([picture * kept, kept], axis=2)
    cells = max(2.0, mouth.pose.height * raster.columns / raster.area.size[0] * _REACH)
    size = max(1, round(raster.columns / cells)), max(1, round(raster.rows / cells))
    small = cv2.GaussianBlur(cv2.resize(known, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    near = cv2.resize(small, (raster.columns, raster.rows), interpolation=cv2.INTER_LINEAR)
    return (known[..., :3] + near[..., :3] / np.maximum(near[..., 3:], 1e-4) * (1 - kept)).astype(np.float32)
