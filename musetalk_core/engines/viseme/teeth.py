"""The teeth reference of a shot: one frame's teeth, shown in all frames so that teeth do not flicker."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians
from typing import Final

import cv2
import numpy as np

from musetalk_core.engine_protocol import FaceFrame
from musetalk_core.engines.viseme.lip_colours import extend_colours, tooth_weight
from musetalk_core.engines.viseme.mouth import Mouth, measure_mouth
from musetalk_core.engines.viseme.numeric import smoothstep, smoothstep_scalar
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid, blur_mask, fill_between_curves
from musetalk_core.types import Box, Float

_MIN_MOUTH_WIDTH_PX, _FULL_DETAIL_WIDTH_PX = 14.0, 24.0
"""Mouth widths: below the first, teeth and shadow are not drawn; above the second, fully."""
_UPPER_LIP_DISTANCE, _LOWER_LIP_DISTANCE = 0.3, 1.5
"""Distance of reference pixels from the lips, as multiples of the width trimmed from them."""
_LIP_PROFILE: Final = np.stack([np.zeros(11), np.sin(np.linspace(0, np.pi, 11)) ** 0.5], axis=1).astype(
    np.float32
)
_COLOUR_SPREAD_SIGMA: Final = 0.012
"""How far colors of the teeth are extended over pixels beside them, in H."""
_CLOSING_SIGMA: Final = 0.006
"""Gaps between teeth up to about this width belong to the row, in H."""
_RELIABLE_TONE_SHARE: Final = 0.5
_UNDER_LIP: Final = 0.025
_FRONT_TEETH: Final = 0.06
UPPER_EDGE: Final = 0.013
"""How far drawn upper teeth reach below the seam of closed lips, in H: 2 mm."""
_MIN_TEETH_CELLS: Final = 20
_MAX_YAW_DEG: Final = 40.0
_MARGIN: Final = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class TeethReference:
    """
    The teeth of a reference frame, not yet aligned.

    Attributes:
        mouth:              of the reference frame.
        grid:               over the reference frame's crop.
        premultiplied_bgra: (rows, columns, 4) float32: BGR levels times alpha, and alpha 0..1.
        tone:               (3,) float32, mean BGR levels of the brighter teeth.
        edge:               lower edge of the front teeth, in face units below the nose base.
    """

    mouth: Mouth
    grid: SamplingGrid
    premultiplied_bgra: Float
    tone: Float
    edge: float


def detail_level(mouth: Mouth) -> float:
    """Return 0 for a mouth too small for details .. 1 for one that can show them."""
    width = 2 * mouth.half_width * mouth.pose.height
    return smoothstep_scalar((width - _MIN_MOUTH_WIDTH_PX) / (_FULL_DETAIL_WIDTH_PX - _MIN_MOUTH_WIDTH_PX))


@lru_cache(maxsize=16)
def cut_out_teeth(face: FaceFrame, row: bytes) -> TeethReference | None:
    """
    Cut out the teeth of a shot's reference frame; cached, so each shot costs this once.

    Args:
        face: the reference frame.
        row:  (34,) float32 as bytes, its smoothed features.

    Returns:
        None if its mouth is outside the crop, or shows no teeth.
    """
    mouth = measure_mouth(face, np.frombuffer(row, np.float32))
    corners = mouth.pose.to_pixels(np.vstack([mouth.edges.upper, mouth.edges.lower]))
    margin = _MARGIN * mouth.pose.height
    low, high = np.floor(corners.min(axis=0) - margin), np.ceil(corners.max(axis=0) + margin)
    area = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clip(*face.box.size)
    if min(area.size) < 2:
        return None
    scale = 3 if mouth.pose.height < 110 else 2 if mouth.pose.height < 220 else 1
    grid = SamplingGrid(area, area.size[0] * scale, area.size[1] * scale)
    crop = face.crop[area.slices()]
    picture = cv2.resize(crop, (grid.columns, grid.rows), interpolation=cv2.INTER_LINEAR)
    picture = np.asarray(picture, np.float32)
    zone = _fill_between_lips(grid, mouth)
    teeth = tooth_weight(picture, mouth) * zone
    if np.count_nonzero(teeth > _RELIABLE_TONE_SHARE) < _MIN_TEETH_CELLS:
        return None
    cells_per_h = mouth.pose.height * grid.columns / grid.area.size[0]
    coverage = smoothstep((blur_mask(teeth, grid, mouth.pose, _CLOSING_SIGMA) - 0.25) / np.float32(0.3))
    coverage = blur_mask(_extend_upwards(coverage * zone, cells_per_h), grid, mouth.pose, 0.003)[..., None]
    # gaps between teeth keep their pixels; lips beside them do not
    known = smoothstep((blur_mask(teeth, grid, mouth.pose, _CLOSING_SIGMA) - 0.45) / np.float32(0.2))
    colours = extend_colours(picture, np.maximum(teeth, known), _COLOUR_SPREAD_SIGMA * cells_per_h) * coverage
    bright = teeth * (picture.mean(axis=2) >= np.percentile(picture[teeth > _RELIABLE_TONE_SHARE], 50))
    tone = (picture * bright[..., None]).sum(axis=(0, 1)) / max(float(bright.sum()), 1e-3)
    return TeethReference(
        mouth,
        grid,
        np.concatenate([colours, coverage], axis=2).astype(np.float32),
        tone.astype(np.float32),
        _lower_edge(grid, mouth, teeth),
    )


@dataclass(frozen=True, slots=True, eq=False)
class AlignedTeeth:
    """
    Reference teeth, aligned to a sampling grid.

    Attributes:
        planes:   blue, green, red (levels times alpha) and alpha, (rows, columns) float32 each.
        gain:     (3,) float32, factors of the BGR levels that match the target frame's skin.
        tone:     (3,) float32, BGR levels of the person's teeth in this frame.
        edge:     lower edge of the front teeth in face units.
        strength: 0..1, how much of them is visible.
    """

    planes: Sequence[Float]
    gain: Float
    tone: Float
    edge: float
    strength: float


def align_teeth(grid: SamplingGrid, mouth: Mouth, teeth: TeethReference | None) -> AlignedTeeth | None:
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
    strength = detail_level(mouth)
    if teeth is None or strength <= 0:
        return None
    size = grid.columns, grid.rows
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpAffine(
        teeth.premultiplied_bgra, _alignment_matrix(grid, mouth, teeth), size, flags=flags
    )
    gain = np.clip(mouth.record.skin / np.maximum(teeth.mouth.record.skin, 10), 0.8, 1.25)
    planes = [np.asarray(plane, np.float32) for plane in cv2.split(aligned)]
    return AlignedTeeth(
        planes,
        gain.astype(np.float32),
        (teeth.tone * gain).astype(np.float32),
        float(mouth.nose[1]) + teeth.edge,
        strength,
    )


def _alignment_matrix(grid: SamplingGrid, mouth: Mouth, teeth: TeethReference) -> Float:
    """Return the (2, 3) float32 affine matrix from target grid cells to reference grid cells."""
    target_pose, reference_pose = mouth.pose, teeth.mouth.pose
    # a head that turns away shows its teeth foreshortened
    foreshortening = _cosine(mouth) / _cosine(teeth.mouth)
    along, down = np.diag([1 / foreshortening, 1.0]).astype(np.float32), target_pose.axes
    rotation = reference_pose.axes.T @ along @ down * np.float32(reference_pose.height / target_pose.height)
    offset = reference_pose.axes.T @ (teeth.mouth.nose - mouth.nose) * np.float32(reference_pose.height)
    size, start = grid.cell_size, grid.first_sample
    other_size, other_start = teeth.grid.cell_size, teeth.grid.first_sample
    origin = rotation @ (start - target_pose.centre) + offset + reference_pose.centre - other_start
    return np.column_stack([rotation * size, origin]).astype(np.float32) / other_size[:, None]


def _lower_edge(grid: SamplingGrid, mouth: Mouth, teeth: Float) -> float:
    x, y = grid.face_coordinates(mouth.pose)
    front = y[(teeth > _RELIABLE_TONE_SHARE) & (np.abs(x - np.float32(mouth.middle)) < _FRONT_TEETH)]
    drawn = float(mouth.seam[5, 1]) + UPPER_EDGE
    return (float(np.percentile(front, 95)) if len(front) else drawn) - float(mouth.nose[1])


def _extend_upwards(row: Float, cells_per_h: float) -> Float:
    """Extend a row of teeth under the upper lip, which may be higher in other frames."""
    reach = max(1, round(_UNDER_LIP * cells_per_h))
    # the anchor at the kernel's upper end: each cell takes the largest weight of those below it
    kernel = np.ones((reach + 1, 1), np.uint8)
    return np.asarray(cv2.dilate(row, kernel, anchor=(0, 0)), np.float32)


def _cosine(mouth: Mouth) -> float:
    return cos(radians(min(abs(mouth.record.yaw), _MAX_YAW_DEG)))


def _fill_between_lips(grid: SamplingGrid, mouth: Mouth) -> Float:
    """Fill the open mouth of the reference frame, away from the lips; (rows, columns) float32 0..1."""
    upper_trim, lower_trim = mouth.edges.trims
    upper = mouth.edges.upper + _UPPER_LIP_DISTANCE * upper_trim * _LIP_PROFILE
    lower = mouth.edges.lower - _LOWER_LIP_DISTANCE * lower_trim * _LIP_PROFILE
    return fill_between_curves(grid, mouth.pose, upper.astype(np.float32), lower.astype(np.float32))
