"""The motion field of a crop: a coarse displacement grid over the whole crop, a finer one around the lips."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.masks import blurred, filled
from musetalk_core.engines.viseme.pose import Pose
from musetalk_core.engines.viseme.raster import Raster
from musetalk_core.engines.viseme.scratch import scratch
from musetalk_core.engines.viseme.steps import smooth01
from musetalk_core.engines.viseme.warp import Warp
from musetalk_core.types import Box, Float, Image

_CELLS: Final = 64
"""The joined displacement grid has about this many cells along the longer side; a cell is whole pixels."""
_COARSE: Final = 16
_COLUMNS, _ROWS = 20, 14
_MOVES_PX: Final = 0.3
_SEEN_PX: Final = 1 / 64
"""Smaller displacements are treated as zero: OpenCV samples at 1/32 pixel."""
_PAD: Final = 0.06
"""Margin of the finer field around the lips, in face units."""
_GROWN: Final = np.array([0, 0.02], np.float32)


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
    shift: Float


def motion_of(warp: Warp, also: Box) -> Motion:
    """
    Compute the displacement of every pixel that moves.

    Args:
        warp:          the two fields.
        required_area: part of the crop that the area must contain even if nothing moves there.
    """
    cell = max(1, round(max(warp.size) / _CELLS))
    columns, rows = (-(-n // cell) for n in warp.size)
    grid = Raster(Box(0, 0, columns * cell, rows * cell), columns, rows)
    across, down = _split(warp.shift(grid, _COARSE, _COARSE))
    weight = _weight(warp, grid, across, down)
    across *= weight
    down *= weight
    shift = np.asarray(cv2.merge([across, down]), np.float32)
    lips = _cells(lips_of(warp), cell, (columns, rows))
    area = _union(_union(_around(across, down), lips), _cells(also, cell, (columns, rows)))
    if area.is_empty:
        return Motion(area, shift[:0, :0])
    width, height = (n * cell for n in area.size)
    full = scratch("shift", height, width, 2)
    cv2.resize(shift[area.slices()], (width, height), dst=full)
    if not lips.is_empty:
        _refine(full, cell, area, weight, warp, lips)
    pixels = _pixels(area, cell).clipped(*warp.size)
    return Motion(pixels, full[: pixels.size[1], : pixels.size[0]])


def outline(warp: Warp, curves: list[Float], pad: float) -> Box:
    """Return the rectangle around (N, 2) curves in face units with a margin `pad`, clipped to the crop."""
    pose: Pose = warp.mouth.pose
    points = pose.pixels(np.concatenate(curves))
    margin = pad * pose.height
    low, high = np.floor(points.min(axis=0) - margin), np.ceil(points.max(axis=0) + margin)
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clipped(*warp.size)


def lips_of(warp: Warp) -> Box:
    """Return the rectangle of the crop around the source lips and the target lips."""
    mouth, shape = warp.mouth, warp.shape
    return outline(warp, [mouth.upper_outer, mouth.lower_outer, shape.upper, shape.lower], _PAD)


def levels(crop: Image, area: Box) -> Float:
    """Copy a part of the crop to (h, w, 3) float32 levels; a scratch buffer, valid until the next frame."""
    # OpenCV remaps float32 in half the time of uint8.
    out = scratch("levels", *reversed(area.size), 3)
    np.copyto(out, crop[area.slices()])
    return out


def moved(source: Float, shift: Float) -> Float:
    """
    Return the displaced levels, slightly outside 0..255 at edges.

    (h, w, 3) float32; a scratch buffer, valid until the next frame.
    """
    out, flags = scratch("moved", *source.shape), cv2.INTER_CUBIC | cv2.WARP_RELATIVE_MAP
    cv2.remap(source, shift, None, flags, out, cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]  OpenCV's stub requires map2, which is optional
    return out


@lru_cache(maxsize=64)
def border(size: tuple[int, int], width: int) -> tuple[Float, Float]:
    """
    Return a ramp and 1 minus it, (h, w) float32: 0 at the border .. 1 from `width` pixels on.

    Cached, not to be modified.
    """
    across, down = (smooth01(_from_ends(n) / np.float32(width)) for n in size)
    ramp = np.multiply.outer(down, across)
    return ramp, 1 - ramp


def _from_ends(count: int) -> Float:
    places = np.arange(count, dtype=np.float32)
    return np.minimum(places, places[::-1])


def _split(shift: Float) -> tuple[Float, Float]:
    across, down = cv2.split(shift)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _weight(warp: Warp, grid: Raster, across: Float, down: Float) -> Float:
    """Return (rows, columns) float32: share of the displacement to use; 0 where it is tiny, to keep bytes."""
    pose = warp.mouth.pose
    length = np.asarray(cv2.magnitude(across, down), np.float32)
    length -= np.float32(0.05)
    length *= np.float32(1 / (_MOVES_PX - 0.05))
    moving = np.asarray(cv2.blur(smooth01(length), (3, 3)), np.float32)
    lips = filled(grid, pose, warp.shape.upper - _GROWN, warp.shape.lower + _GROWN)
    lips = blurred(lips, grid, pose, 0.010) * np.float32(1.1)
    return np.minimum(np.maximum(moving, lips), 1) * warp.free(grid)


def _refine(full: Float, cell: int, area: Box, weight: Float, warp: Warp, lips: Box) -> None:
    """Blend the finer lip field into the coarse field `full` in place; `area` and `lips` are in cells."""
    place = _pixels(lips, cell)
    fine = warp.shift(Raster(place, *place.size), _COLUMNS, _ROWS)
    used = cv2.resize(weight[lips.slices()], place.size)
    inner, outer = border(place.size, max(2, round(0.03 * warp.mouth.pose.height)))
    top, left = (lips.y1 - area.y1) * cell, (lips.x1 - area.x1) * cell
    window = full[top : top + place.size[1], left : left + place.size[0]]
    np.copyto(window, cv2.blendLinear(cv2.multiply(fine, cv2.merge([used, used])), window, inner, outer))


def _around(across: Float, down: Float) -> Box:
    """Return the moving cells and one more on each side, where the displacement fades to 0."""
    most = np.maximum(np.abs(across), np.abs(down))
    x, y, width, height = cv2.boundingRect((most > _SEEN_PX).view(np.uint8))
    if width == 0:
        return Box(0, 0, 0, 0)
    box = Box(x - 1, y - 1, x + width + 1, y + height + 1)
    return box.clipped(most.shape[1], most.shape[0])


def _cells(box: Box, cell: int, size: tuple[int, int]) -> Box:
    return Box(box.x1 // cell, box.y1 // cell, -(-box.x2 // cell), -(-box.y2 // cell)).clipped(*size)


def _pixels(cells: Box, cell: int) -> Box:
    return Box(cells.x1 * cell, cells.y1 * cell, cells.x2 * cell, cells.y2 * cell)


def _union(a: Box, b: Box) -> Box:
    if a.is_empty or b.is_empty:
        return b if a.is_empty else a
    return Box(min(a.x1, b.x1), min(a.y1, b.y1), max(a.x2, b.x2), max(a.y2, b.y2))
