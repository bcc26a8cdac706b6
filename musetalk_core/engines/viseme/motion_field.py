"""The motion field of a crop: a coarse displacement grid over the whole crop, a finer one around the lips."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.face_pose import FacePose
from musetalk_core.engines.viseme.numeric import scratch_buffer, smoothstep
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid, blur_mask, fill_between_curves
from musetalk_core.engines.viseme.warp_field import WarpField
from musetalk_core.types import Box, Float

_MAX_CELLS_PER_SIDE: Final = 64
"""The joined displacement grid has about this many cells along the longer side; a cell is whole pixels."""
_COARSE_GRID_SIZE: Final = 16
_LIP_GRID_COLUMNS, _LIP_GRID_ROWS = 20, 14
_FULL_MOTION_PX: Final = 0.3
_MIN_VISIBLE_PX: Final = 1 / 64
"""Smaller displacements are treated as zero: OpenCV samples at 1/32 pixel."""
_LIP_MARGIN: Final = 0.06
"""Margin of the finer field around the lips, in face units."""
_LIP_DILATION: Final = np.array([0, 0.02], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """
    The displacement of all pixels that move.

    Attributes:
        area:         their rectangle in the crop; may be empty.
        displacement: (h, w, 2) float32, from each pixel of `area` to its source, in pixels; 0 where bytes
                      stay unchanged. A scratch buffer, valid until the next frame.
    """

    area: Box
    displacement: Float


def compute_motion(warp: WarpField, required_area: Box) -> Motion:
    """
    Compute the displacement of every pixel that moves.

    Args:
        warp:          the two fields.
        required_area: part of the crop that the area must contain even if nothing moves there.
    """
    cell_px = max(1, round(max(warp.size) / _MAX_CELLS_PER_SIDE))
    columns, rows = (-(-n // cell_px) for n in warp.size)
    grid = SamplingGrid(Box(0, 0, columns * cell_px, rows * cell_px), columns, rows)
    across, down = _split_components(warp.displacement(grid, _COARSE_GRID_SIZE, _COARSE_GRID_SIZE))
    weight = _motion_weight(warp, grid, across, down)
    across *= weight
    down *= weight
    displacement = np.asarray(cv2.merge([across, down]), np.float32)
    lips = _to_cells(lip_bounds(warp), cell_px, (columns, rows))
    area = _union(
        _union(_moving_cells(across, down), lips), _to_cells(required_area, cell_px, (columns, rows))
    )
    if area.is_empty:
        return Motion(area, displacement[:0, :0])
    width, height = (n * cell_px for n in area.size)
    field = scratch_buffer("shift", height, width, 2)
    cv2.resize(displacement[area.slices()], (width, height), dst=field)
    if not lips.is_empty:
        _blend_lip_field(field, cell_px, area, weight, warp, lips)
    pixel_area = _to_pixels(area, cell_px).clip(*warp.size)
    return Motion(pixel_area, field[: pixel_area.size[1], : pixel_area.size[0]])


def curve_bounds(warp: WarpField, curves: list[Float], margin_share: float) -> Box:
    """Return the rectangle around (N, 2) curves in face units plus a margin in face heights, in the crop."""
    pose: FacePose = warp.mouth.pose
    points = pose.to_pixels(np.concatenate(curves))
    margin = margin_share * pose.height
    low, high = np.floor(points.min(axis=0) - margin), np.ceil(points.max(axis=0) + margin)
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clip(*warp.size)


def lip_bounds(warp: WarpField) -> Box:
    """Return the rectangle of the crop around the source lips and the target lips."""
    mouth, shape = warp.mouth, warp.shape
    return curve_bounds(warp, [mouth.upper_outer, mouth.lower_outer, shape.upper, shape.lower], _LIP_MARGIN)


def remap_levels(source: Float, displacement: Float) -> Float:
    """
    Return the displaced levels, slightly outside 0..255 at edges.

    (h, w, 3) float32; a scratch buffer, valid until the next frame.
    """
    out, flags = scratch_buffer("moved", *source.shape), cv2.INTER_CUBIC | cv2.WARP_RELATIVE_MAP
    cv2.remap(source, displacement, None, flags, out, cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]  OpenCV's stub requires map2, which is optional
    return out


@lru_cache(maxsize=64)
def border_ramp(size: tuple[int, int], width: int) -> tuple[Float, Float]:
    """
    Return a ramp and 1 minus it, (h, w) float32: 0 at the border .. 1 from `width` pixels on.

    Cached, not to be modified.
    """
    across, down = (smoothstep(_distance_from_ends(n) / np.float32(width)) for n in size)
    ramp = np.multiply.outer(down, across)
    return ramp, 1 - ramp


def _distance_from_ends(count: int) -> Float:
    positions = np.arange(count, dtype=np.float32)
    return np.minimum(positions, positions[::-1])


def _split_components(displacement: Float) -> tuple[Float, Float]:
    across, down = cv2.split(displacement)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _motion_weight(warp: WarpField, grid: SamplingGrid, across: Float, down: Float) -> Float:
    """Return (rows, columns) float32: share of the displacement to use; 0 where it is tiny, to keep bytes."""
    pose = warp.mouth.pose
    length = np.asarray(cv2.magnitude(across, down), np.float32)
    length -= np.float32(0.05)
    length *= np.float32(1 / (_FULL_MOTION_PX - 0.05))
    moving = np.asarray(cv2.blur(smoothstep(length), (3, 3)), np.float32)
    lips = fill_between_curves(grid, pose, warp.shape.upper - _LIP_DILATION, warp.shape.lower + _LIP_DILATION)
    lips = blur_mask(lips, grid, pose, 0.010) * np.float32(1.1)
    return np.minimum(np.maximum(moving, lips), 1) * warp.change_mask(grid)


def _blend_lip_field(field: Float, cell: int, area: Box, weight: Float, warp: WarpField, lips: Box) -> None:
    """Blend the finer lip field into the coarse `field` in place; `area` and `lips` are in cells."""
    lip_area = _to_pixels(lips, cell)
    lip_field = warp.displacement(SamplingGrid(lip_area, *lip_area.size), _LIP_GRID_COLUMNS, _LIP_GRID_ROWS)
    lip_weight = cv2.resize(weight[lips.slices()], lip_area.size)
    inner, outer = border_ramp(lip_area.size, max(2, round(0.03 * warp.mouth.pose.height)))
    top, left = (lips.y1 - area.y1) * cell, (lips.x1 - area.x1) * cell
    window = field[top : top + lip_area.size[1], left : left + lip_area.size[0]]
    np.copyto(
        window,
        cv2.blendLinear(cv2.multiply(lip_field, cv2.merge([lip_weight, lip_weight])), window, inner, outer),
    )


def _moving_cells(across: Float, down: Float) -> Box:
    """Return the moving cells and one more on each side, where the displacement fades to 0."""
    max_shift = np.maximum(np.abs(across), np.abs(down))
    x, y, width, height = cv2.boundingRect((max_shift > _MIN_VISIBLE_PX).view(np.uint8))
    if width == 0:
        return Box(0, 0, 0, 0)
    box = Box(x - 1, y - 1, x + width + 1, y + height + 1)
    return box.clip(max_shift.shape[1], max_shift.shape[0])


def _to_cells(box: Box, cell: int, size: tuple[int, int]) -> Box:
    return Box(box.x1 // cell, box.y1 // cell, -(-box.x2 // cell), -(-box.y2 // cell)).clip(*size)


def _to_pixels(cells: Box, cell: int) -> Box:
    return Box(cells.x1 * cell, cells.y1 * cell, cells.x2 * cell, cells.y2 * cell)


def _union(a: Box, b: Box) -> Box:
    if a.is_empty or b.is_empty:
        return b if a.is_empty else a
    return Box(min(a.x1, b.x1), min(a.y1, b.y1), max(a.x2, b.x2), max(a.y2, b.y2))
