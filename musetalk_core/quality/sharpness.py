"""Sharpness of a mouth: energy of fine and coarse detail, compared with cheeks, forehead and source."""

from typing import Final, NamedTuple

import cv2
import numpy as np

from musetalk_core.faces.mesh_topology import face_height
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.quality.mouth_patch import Bools, FaceMarks, dilate, fill
from musetalk_core.types import Box, Float

_FINE_SIGMA_H, _MIN_SIGMA_PX = 0.004, 1.2
"""Sigma of the smallest blur; the fine band is between it and twice that, the coarse one up to four times."""
_MOUTH_MARGIN_H, _SKIN_RADIUS_H, _AREA_MARGIN_H = 0.08, 0.06, 0.1
_OPENING_MARGIN_H: Final = 0.04
"""Reach of the bands: edges of teeth and of the dark mouth are no detail of lips and skin."""
_DARK_SHARE, _DARK_MARGIN_H = 0.5, 0.025
"""
Pixels of the lips, or this close to them, that are darker than this share of the skin belong to the opening:
on a mouth that is wide open the mesh is not exact.
"""

_SKIN_POINTS: Final = (50, 280, 69, 299, 108, 337, 151)
"""Mesh points on the cheekbones and the forehead."""


class BandEnergies(NamedTuple):
    """Mean squares of luma detail, in levels squared; (2,) float64 of the fine and the coarse band."""

    mouth: Float
    skin: Float


def band_energies(picture: Picture, mesh: Float, skin_mesh: Float, changed: Box) -> BandEnergies | None:
    """
    Measure the detail of lips and skin at the mouth, without the opening, and of skin that is not rendered.

    The picture's own pixels are used: resampling would change the detail.

    Args:
        picture:   the frame.
        mesh:      (468, 2) float32 pixels, of this frame.
        skin_mesh: (468, 2) float32 pixels, the source frame's: it places cheeks and forehead in both frames.
        changed:   box of the rendered pixels.

    Returns:
        None if mouth or skin are not in the picture.
    """
    unit = face_height(mesh)
    marks, spots = FaceMarks.from_mesh(mesh), skin_mesh[list(_SKIN_POINTS)]
    margin = changed.expand(round(_SKIN_RADIUS_H * unit))
    is_outside = ((spots < (margin.x1, margin.y1)) | (spots >= (margin.x2, margin.y2))).any(1)
    spots = spots[is_outside]
    points = np.concatenate([marks.lips, spots])
    reach = unit * _AREA_MARGIN_H
    low, high = np.floor(points.min(0) - reach), np.ceil(points.max(0) + reach)
    area = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clip(picture.width, picture.height)
    if min(area.size) < 8:
        return None
    corner = np.array([area.x1, area.y1], np.float32)
    luma = picture.y[area.slices()].astype(np.float32)
    opening, lips = (fill(outline - corner, area.size) for outline in (marks.opening, marks.lips))
    skin = np.zeros_like(lips)
    for x, y in spots - corner:
        cv2.circle(skin, (round(float(x)), round(float(y))), max(2, round(_SKIN_RADIUS_H * unit)), 255, -1)
    if not skin.any():
        return None
    is_dark = luma < np.float32(_DARK_SHARE) * np.median(luma[skin > 0])
    opening |= dilate(lips, _DARK_MARGIN_H * unit) & (is_dark * np.uint8(255))
    mouth = (dilate(lips, _MOUTH_MARGIN_H * unit) & ~dilate(opening, _OPENING_MARGIN_H * unit)) > 0
    if not mouth.any():
        return None
    sigma = max(_MIN_SIGMA_PX, _FINE_SIGMA_H * unit)
    blurred = [np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma * 2**k), np.float32) for k in range(3)]
    bands = [(blurred[k] - blurred[k + 1]) ** 2 for k in range(2)]
    return BandEnergies(_means(bands, mouth), _means(bands, skin > 0))


def _means(bands: list[Float], mask: Bools) -> Float:
    return np.array([band[mask].mean() for band in bands], np.float32)
