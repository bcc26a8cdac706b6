"""The teeth reference of a shot: one frame's teeth, shown in all frames so that teeth do not flicker."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.engine_protocol import FaceFrame
from musetalk_core.engines.viseme.mouth import Mouth, measure_mouth
from musetalk_core.engines.viseme.numeric import smoothstep, smoothstep_scalar
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid
from musetalk_core.engines.viseme.soft_masks import blur_mask, fill_between_curves
from musetalk_core.types import Box, Float

_MIN_MOUTH_WIDTH_PX, _FULL_DETAIL_WIDTH_PX = 14.0, 24.0
"""Mouth widths: below the first, teeth and shadow are not drawn; above the second, fully."""
_SAFE_LIP_DISTANCE: Final = 1.5
"""Minimum distance of reference pixels from the lips, as a multiple of the width trimmed from the lips."""
_EXTENDED_LIP_DISTANCE: Final = 0.3
"""Below the upper lip the reference colors are extended up to this distance, to avoid a dark rim."""
_COLOUR_SPREAD_SIGMA: Final = 0.012
"""How far colors are extended (sigma, in H)."""
_MARGIN: Final = 0.03
_LIP_PROFILE: Final = np.stack([np.zeros(11), np.sin(np.linspace(0, np.pi, 11)) ** 0.5], axis=1).astype(
    np.float32
)


@dataclass(frozen=True, slots=True, eq=False)
class TeethReference:
    """
    The teeth of a reference frame, not yet aligned.

    Attributes:
        mouth:              of the reference frame.
        grid:               over the reference frame's crop.
        premultiplied_bgra: (rows, columns, 4) float32: BGR levels times alpha, and alpha 0..1.
    """

    mouth: Mouth
    grid: SamplingGrid
    premultiplied_bgra: Float


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
        row:  (33,) float32 as bytes, its smoothed features.

    Returns:
        None if its mouth is outside the crop.
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
    safe_weight = _fill_between_lips(grid, mouth, _SAFE_LIP_DISTANCE) * _not_lip_weight(picture, mouth)
    safe_weight = blur_mask(safe_weight, grid, mouth.pose, 0.004)
    extended_weight = blur_mask(
        _fill_between_lips(grid, mouth, _EXTENDED_LIP_DISTANCE), grid, mouth.pose, 0.003
    )[..., None]
    colours = _extend_colours(picture, safe_weight, grid, mouth) * extended_weight
    return TeethReference(mouth, grid, np.concatenate([colours, extended_weight], axis=2))


@dataclass(frozen=True, slots=True, eq=False)
class AlignedTeeth:
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
    return AlignedTeeth(planes, gain.astype(np.float32), strength)


def _alignment_matrix(grid: SamplingGrid, mouth: Mouth, teeth: TeethReference) -> Float:
    """Return the (2, 3) float32 affine matrix from target grid cells to reference grid cells."""
    target_pose, reference_pose = mouth.pose, teeth.mouth.pose
    rotation = (
        reference_pose.axes.T @ target_pose.axes * np.float32(reference_pose.height / target_pose.height)
    )
    offset = reference_pose.axes.T @ (teeth.mouth.nose - mouth.nose) * np.float32(reference_pose.height)
    size, start = grid.cell_size, grid.first_sample
    other_size, other_start = teeth.grid.cell_size, teeth.grid.first_sample
    origin = rotation @ (start - target_pose.centre) + offset + reference_pose.centre - other_start
    return np.column_stack([rotation * size, origin]).astype(np.float32) / other_size[:, None]


def _fill_between_lips(grid: SamplingGrid, mouth: Mouth, distance: float) -> Float:
    """Fill the open mouth of the reference frame; (rows, columns) float32 0..1."""
    upper_trim, lower_trim = mouth.edges.trims
    upper = mouth.edges.upper + distance * upper_trim * _LIP_PROFILE
    lower = mouth.edges.lower - _SAFE_LIP_DISTANCE * lower_trim * _LIP_PROFILE
    return fill_between_curves(grid, mouth.pose, upper.astype(np.float32), lower.astype(np.float32))


def _not_lip_weight(picture: Float, mouth: Mouth) -> Float:
    """Return (rows, columns) float32: 0 for skin and lip colors .. 1 for teeth and dark areas."""
    brightest, darkest = picture.max(axis=2), picture.min(axis=2)
    skin, lip = _saturation(mouth.record.skin), _saturation(mouth.record.lip)
    min_saturation = max(0.85 * skin, 0.5 * (0.6 * skin + lip))
    # saturated and not dark: skin or lip
    lip_weight = smoothstep(((brightest - darkest) / np.maximum(brightest, 1) - min_saturation) / 0.08)
    return 1 - lip_weight * smoothstep((brightest - 0.45 * float(mouth.record.skin.max())) / 40)


def _saturation(colour: Float) -> float:
    return float(colour.max() - colour.min()) / max(float(colour.max()), 1.0)


def _extend_colours(picture: Float, safe_weight: Float, grid: SamplingGrid, mouth: Mouth) -> Float:
    """Replace pixels that are not certainly teeth by the blurred colors of the teeth beside them."""
    alpha = safe_weight[..., None]
    premultiplied = np.concatenate([picture * alpha, alpha], axis=2)
    spread_cells = max(2.0, mouth.pose.height * grid.columns / grid.area.size[0] * _COLOUR_SPREAD_SIGMA)
    size = max(1, round(grid.columns / spread_cells)), max(1, round(grid.rows / spread_cells))
    small = cv2.GaussianBlur(cv2.resize(premultiplied, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    spread_colours = cv2.resize(small, (grid.columns, grid.rows), interpolation=cv2.INTER_LINEAR)
    # blurred colors divided by blurred weights: a normalized average of known pixels
    return (
        premultiplied[..., :3]
        + spread_colours[..., :3] / np.maximum(spread_colours[..., 3:], 1e-4) * (1 - alpha)
    ).astype(np.float32)
