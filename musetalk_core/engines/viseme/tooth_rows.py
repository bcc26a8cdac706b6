"""
Drawn rows of teeth, for faces that show none of their own: shape, brightness and gaps of sixteen front teeth.

A row is drawn once for each size, in face units, and then moved like a picture: the upper one with the skull,
the lower one with the jaw.
"""

from functools import lru_cache
from math import cos, radians
from typing import Final

import cv2
import numpy as np

from musetalk_core.engines.viseme.mouth import Mouth
from musetalk_core.engines.viseme.numeric import smoothstep
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid
from musetalk_core.types import Float

_UPPER_WIDTHS: Final = (0.054, 0.042, 0.040, 0.030, 0.024, 0.020)
_LOWER_WIDTHS: Final = (0.034, 0.036, 0.038, 0.032, 0.026, 0.022)
"""Seen widths of the teeth from the middle outwards, in H: 8 mm to 3 mm, foreshortened at the sides."""
_UPPER_EDGES: Final = (0.0, -0.006, -0.002, -0.007, -0.010, -0.013)
_LOWER_EDGES: Final = (0.0, 0.0, -0.002, 0.003, 0.005, 0.007)
"""Height of each tooth's cutting edge against the first; negative is farther up."""
_HALF_WIDTH, _LENGTH, _BEYOND_EDGE = 0.22, 0.085, 0.03
"""Extent of the drawing: to either side, towards the gum, and beyond the edge of the middle teeth, in H."""
_PIXELS_PER_H_STEP: Final = 40
_ARCH: Final = 0.35
"""Curve of the edges: the row rises towards the corners by this much of the squared distance, in H."""
_MAX_YAW_DEG: Final = 40.0

UPPER, LOWER = 0, 1


def draw_row(row: int, pixels_per_h: int) -> Float:
    """
    Draw a row of teeth; the same arguments give the same array, which is not to be modified.

    Args:
        row:          `UPPER` or `LOWER`; the lower one is upside down.
        pixels_per_h: size, pixels per face height.

    Returns:
        (h, w, 2) float32: brightness times alpha, and alpha 0..1. The middle of the edge is at
        (`_HALF_WIDTH`, `_LENGTH`) times `pixels_per_h`.
    """
    return _draw_row(row, pixels_per_h)


@lru_cache(maxsize=16)
def _draw_row(row: int, pixels_per_h: int) -> Float:
    scale = 2  # drawn at twice the size, against stair-steps
    unit = pixels_per_h * scale
    size = round(2 * _HALF_WIDTH * pixels_per_h), round((_LENGTH + _BEYOND_EDGE) * pixels_per_h)
    x = (np.arange(size[0] * scale, dtype=np.float32) + 0.5) / unit - _HALF_WIDTH
    y = ((np.arange(size[1] * scale, dtype=np.float32) + 0.5) / unit - _LENGTH)[:, None]
    widths, edges = (_UPPER_WIDTHS, _UPPER_EDGES) if row == UPPER else (_LOWER_WIDTHS, _LOWER_EDGES)
    widths, edges = np.array(widths, np.float32), np.array(edges, np.float32)
    ends = np.cumsum(widths)
    distance = np.abs(x)
    number = np.minimum(np.searchsorted(ends, distance), len(widths) - 1)
    middle = ends[number] - widths[number] / 2
    place = np.clip((distance - middle) / (widths[number] / 2), -1, 1)  # -1..1 across a tooth
    edge = edges[number] - _ARCH * np.square(distance) - 0.007 * np.abs(place) ** 5
    edge = edge.astype(np.float32)
    inside = smoothstep(((edge - y) / 0.006 + 0.5).astype(np.float32))
    inside = inside * smoothstep(((ends[-1] - distance) / 0.008).astype(np.float32))
    # a tooth is a shallow cylinder, darker at the gum and slightly translucent at its edge
    light = 1 - 0.16 * np.square(place) - 0.5 * np.square(np.minimum(distance / 0.17, 1))
    depth = np.clip((edge - y) / 0.07, 0, 1)
    shade = (1 - 0.22 * np.square(depth)) * (1 - 0.10 * np.exp(-depth * 14))
    gap = np.exp(-np.square((np.abs(place) - 1) * widths[number] / 2 / 0.0032))
    clefts = 1 - (1 if row == UPPER else 0.5) * (0.16 + 0.5 * np.exp(-depth * 9)) * gap
    texture = cv2.GaussianBlur(
        np.random.default_rng(row).normal(0, 1, (len(y), len(x))).astype(np.float32), (0, 0), 0.004 * unit
    )
    texture *= np.float32(0.02 / max(float(texture.std()), 1e-6))
    brightness = light * shade * clefts * (1 + texture)
    drawn = np.stack([brightness * inside, inside], axis=2).astype(np.float32)
    return np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.float32)


def place_row(grid: SamplingGrid, mouth: Mouth, row: int, edge_y: float) -> tuple[Float, Float]:
    """
    Return a row of teeth on a sampling grid.

    Args:
        grid:   the sampling grid.
        mouth:  its pose and turn.
        row:    `UPPER` or `LOWER`.
        edge_y: where the edge of the middle teeth is, in face units.

    Returns:
        (rows, columns) float32 each: brightness times alpha, and alpha.
    """
    cells_per_h = mouth.pose.height * grid.columns / max(grid.area.size[0], 1)
    pixels_per_h = max(1, round(cells_per_h / _PIXELS_PER_H_STEP + 0.25)) * _PIXELS_PER_H_STEP
    drawn = draw_row(row, pixels_per_h)
    foreshortening = cos(radians(min(abs(mouth.record.yaw), _MAX_YAW_DEG)))
    pose = mouth.pose
    # cells of the grid -> pixels of the crop -> face units -> pixels of the drawing
    cell, start = grid.cell_size, grid.first_sample
    to_face = pose.axes / np.float32(pose.height)
    origin = to_face @ (start - pose.centre) - np.array([mouth.middle, edge_y], np.float32)
    scale = np.array([pixels_per_h / foreshortening, pixels_per_h * (1 if row == UPPER else -1)], np.float32)
    offset = np.array([_HALF_WIDTH, _LENGTH], np.float32) * pixels_per_h - 0.5
    matrix = np.column_stack([to_face * cell, origin]) * scale[:, None]
    matrix[:, 2] += offset
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(drawn, matrix.astype(np.float32), (grid.columns, grid.rows), flags=flags)
    brightness, alpha = cv2.split(placed)
    return np.asarray(brightness, np.float32), np.asarray(alpha, np.float32)
