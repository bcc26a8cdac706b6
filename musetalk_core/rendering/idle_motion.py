"""
Idle motion of a still portrait: slow head sway and blinks. Only the region around the head changes.

H in this module is the face height in pixels, the unit of all constants whose names end in _H.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.faces.mesh_topology import (
    CHIN,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    OVAL,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    face_height,
)
from musetalk_core.types import Box, Float, Image, Ints

_OVAL_SCALE, _SOFTNESS_H, _EDGE_FADE_H = 1.25, 0.22, 0.15
"""The moving area: scale of the face oval, sigma of its soft edge (H), fade at the picture's border (H)."""
_MIN_WEIGHT: Final = 0.02
_GRID_NODES_PER_H: Final = 40.0
"""Nodes of the displacement grid per face height."""
_MAX_CUBIC_PX: Final = 1_000_000
"""Largest region sampled with cubic interpolation; above it, linear looks the same and is 3 times as fast."""

_BLINK_SLOT_S, _BLINK_JITTER_S, _FIRST_BLINK_S = 3.75, 1.25, 1.0
"""One blink per slot, at a random moment of its first part, so that blinks are 2.5 to 5 s apart."""
_LID_CLOSING_S, _LID_CLOSED_S, _LID_OPENING_S = 0.08, 0.04, 0.14
_EYES: Final = ((LEFT_EYE_UPPER, LEFT_EYE_LOWER), (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER))
_MIN_EYE_OPENING_H: Final = 0.012
"""Eyes that are open less than this (in H) do not blink."""
_SWAY: Final = ((0.008, 0.17), (0.005, 0.23), (float(np.radians(0.7)), 0.13), (0.004, 0.11))
"""(amplitude, frequency in Hz) of the shift right (H), shift down (H), rotation (radians) and zoom."""


@dataclass(frozen=True, slots=True, eq=False)
class _Eye:
    """
    One eye, in pixels of the region.

    Attributes:
        area:    box that is redrawn.
        upper:   (w,) float32, y of the upper lid's edge per column of `area`.
        lower:   (w,) float32, y of the lower lid's edge per column of `area`.
        opening: largest distance between both edges.
    """

    area: Box
    upper: Float
    lower: Float
    opening: float


class IdleMotion:
    """
    The idle motion of one still. Stateless after construction and thread-safe; times may come in any order.

    Attributes:
        region: the part of the picture that moves, with even coordinates. Nothing outside it changes.
    """

    region: Box

    def __init__(self, size: tuple[int, int], landmarks: Float, seed: int) -> None:
        """
        Compute the motion maps of a still.

        Args:
            size:      (w, h) of the picture in pixels.
            landmarks: (468, 2) float32 mesh landmarks in pixels of the picture.
            seed:      seed of the sway and the blink times; not negative.

        Raises:
            InputError: the picture is empty.
        """
        if min(size) < 2:
            raise InputError("The still must be at least 2x2 pixels.", size=size)
        height = max(face_height(landmarks), 1.0)
        self._height, self._seed = height, seed
        self._phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 8).astype(np.float32)
        self.region, self._motion_maps = _motion_maps(size, landmarks, height)
        corner = np.array([self.region.x1, self.region.y1], np.float32)
        eyes = (
            _find_eye(landmarks[a] - corner, landmarks[b] - corner, height, self.region) for a, b in _EYES
        )
        self._eyes = [eye for eye in eyes if eye is not None]

    def apply(self, region_bgr: Image, time_s: float) -> Image:
        """
        Apply the motion of one moment to the region.

        Args:
            region_bgr: (h, w, 3) uint8 BGR, the pixels of `region` with the mouth already rendered. Not
                modified.
            time_s:     seconds from the start.

        Returns:
            (h, w, 3) uint8 BGR, a new array; its border pixels equal the source's.

        Raises:
            InputError: the array does not have the region's size.
        """
        width, region_height = self.region.size
        if region_bgr.shape != (region_height, width, 3):
            raise InputError(f"The region is {width}x{region_height} pixels, not {region_bgr.shape[1::-1]}.")
        closure = eyelid_closure(time_s, self._seed)
        blinked = _draw_lids(region_bgr, self._eyes, closure) if closure > 0 else region_bgr
        displacement = cv2.resize(
            self._displacement(time_s), (width, region_height), interpolation=cv2.INTER_LINEAR
        )
        interpolation = cv2.INTER_CUBIC if width * region_height <= _MAX_CUBIC_PX else cv2.INTER_LINEAR
        return _remap(blinked, np.asarray(displacement, np.float32), interpolation | cv2.WARP_RELATIVE_MAP)

    def _displacement(self, time_s: float) -> Float:
        """Return (rows, columns, 2) float32, the displacement in pixels from each grid node to its source."""
        right, down, turn, zoom = (
            amplitude * _slow_wave(time_s, frequency, self._phases[2 * k : 2 * k + 2])
            for k, (amplitude, frequency) in enumerate(_SWAY)
        )
        cos, sin, scale = np.cos(turn), np.sin(turn), 1 / (1 + zoom)
        weight, x, y = self._motion_maps
        left, up = right * self._height, down * self._height
        return np.stack(
            [
                np.float32(cos * scale - 1) * x + np.float32(sin * scale) * y - np.float32(left) * weight,
                np.float32(-sin * scale) * x + np.float32(cos * scale - 1) * y - np.float32(up) * weight,
            ],
            axis=-1,
        ).astype(np.float32)


def eyelid_closure(time_s: float, seed: int) -> float:
    """
    Return how far the eyelids are closed, 0 (open) to 1 (closed).

    A blink takes 80 ms to close, 40 ms closed and 140 ms to open. Blinks are 2.5 to 5 s apart.

    Args:
        time_s: seconds from the start.
        seed:   seed of the blink times; not negative.
    """
    slot, elapsed_s = divmod(time_s - _FIRST_BLINK_S, _BLINK_SLOT_S)
    if slot < 0:
        return 0.0
    elapsed_s -= float(np.random.default_rng([seed, int(slot)]).uniform(0, _BLINK_JITTER_S))
    if elapsed_s <= 0:
        return 0.0
    reopened_share = (elapsed_s - _LID_CLOSING_S - _LID_CLOSED_S) / _LID_OPENING_S
    return float(min(elapsed_s / _LID_CLOSING_S, 1.0, max(1 - reopened_share, 0.0)))


def _slow_wave(time_s: float, frequency: float, phases: Float) -> float:
    # Two sines with frequencies 1 : 2.3, so that the motion does not repeat visibly.
    phase = 2 * np.pi * frequency * time_s
    return float(np.sin(phase + phases[0]) + 0.5 * np.sin(2.3 * phase + phases[1]))


def _motion_maps(
    size: tuple[int, int], landmarks: Float, height: float
) -> tuple[Box, tuple[Float, Float, Float]]:
    """
    Return the moving region and three maps on a coarse grid over it.

    The maps are (rows, columns) float32: the motion weight w, and w * x and w * y with x, y in pixels from
    the pivot.
    """
    weight, scale = _motion_weight(size, landmarks, height)
    rows, columns = np.flatnonzero(weight.any(axis=1)), np.flatnonzero(weight.any(axis=0))
    if len(rows) == 0:
        zero_map = np.zeros((1, 1), np.float32)
        return Box(0, 0, 2, 2), (zero_map, zero_map, zero_map)
    low = int((columns[0] - 1) / scale), int((rows[0] - 1) / scale)
    high = int((columns[-1] + 2) / scale) + 1, int((rows[-1] + 2) / scale) + 1
    region = Box(*low, *high).align_even().clip(size[0] & ~1, size[1] & ~1)
    x, y = (
        (np.arange(n, dtype=np.float32) + 0.5) * (side / n) - 0.5
        for side, n in zip(region.size, _grid_size(region, height), strict=True)
    )
    grid_points = np.stack(
        np.meshgrid((x + region.x1 + 0.5) * scale - 0.5, (y + region.y1 + 0.5) * scale - 0.5), -1
    )
    maps = grid_points.astype(np.float32)
    # OpenCV's type stub requires map2, which is optional
    sampled = cv2.remap(weight, maps, None, cv2.INTER_LINEAR)  # pyright: ignore[reportCallIssue, reportArgumentType]
    on_grid = np.asarray(sampled, np.float32)
    on_grid[[0, -1]] = 0
    on_grid[:, [0, -1]] = 0
    # The head turns and zooms around a point below the chin, about the top of the neck.
    pivot = landmarks[CHIN] + np.array([0, 0.25 * height], np.float32)
    offset_x, offset_y = x + np.float32(region.x1 - pivot[0]), y + np.float32(region.y1 - pivot[1])
    by_x, by_y = on_grid * offset_x, on_grid * offset_y[:, None]
    return region, (on_grid, by_x.astype(np.float32), by_y.astype(np.float32))


def _grid_size(region: Box, height: float) -> tuple[int, int]:
    width, depth = (
        int(np.clip(side * _GRID_NODES_PER_H / height, 3, max(3, side // 2))) for side in region.size
    )
    return width, depth


def _motion_weight(size: tuple[int, int], landmarks: Float, height: float) -> tuple[Float, float]:
    """Return (h, w) float32 on a scaled-down picture, 1 on the face to 0 away from it, and the scale."""
    scale = min(1.0, _GRID_NODES_PER_H / height)
    width, depth = (max(2, round(side * scale)) for side in size)
    mask = np.zeros((depth, width), np.uint8)
    oval = landmarks[OVAL]
    grown = oval.mean(0) + (oval - oval.mean(0)) * _OVAL_SCALE
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(grown * scale).astype(np.int32)), 255)
    soft = np.asarray(
        cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _SOFTNESS_H * height * scale), np.float32
    )
    x, y = np.arange(width), np.arange(depth)
    edge = np.minimum.outer(np.minimum(y, depth - 1 - y), np.minimum(x, width - 1 - x))
    soft *= np.clip(edge / (_EDGE_FADE_H * height * scale), 0, 1) / max(float(soft.max()), 1.0)
    return np.clip((soft - _MIN_WEIGHT) / (1 - _MIN_WEIGHT), 0, 1).astype(np.float32), scale


def _find_eye(upper: Float, lower: Float, height: float, region: Box) -> _Eye | None:
    opening = float((lower[:, 1] - upper[:, 1]).max())
    if opening < _MIN_EYE_OPENING_H * height:
        return None
    low = int(upper[:, 0].min() - 2), int(upper[:, 1].min() - 1.6 * opening)
    high = int(upper[:, 0].max() + 3), int(lower[:, 1].max() + 3)
    area = Box(*low, *high).clip(*region.size)
    if area.is_empty:
        return None
    columns = np.arange(area.x1, area.x2)
    return _Eye(area, _lid_edge(upper, columns), _lid_edge(lower, columns), opening)


def _lid_edge(points: Float, columns: Ints) -> Float:
    order = np.argsort(points[:, 0])
    return np.interp(columns, points[order, 0], points[order, 1]).astype(np.float32)


def _draw_lids(picture: Image, eyes: list[_Eye], closure: float) -> Image:
    out = picture.copy()
    for eye in eyes:
        out[eye.area.slices()] = _draw_lid(picture[eye.area.slices()], eye, closure)
    return out


def _draw_lid(patch: Image, eye: _Eye, closure: float) -> Image:
    """Stretch the skin above the upper lid down towards the lower lid and darken the lash line; BGR uint8."""
    y = np.arange(patch.shape[0], dtype=np.float32)[:, None]  # (h, 1), against (w,) edges below
    upper, lower = eye.upper - eye.area.y1, eye.lower - eye.area.y1
    lid = upper + closure * np.maximum(lower - upper, 0)
    # The skin down to just above the upper lid's edge (6 % of the opening) is stretched to the closing lid.
    stretched = y * ((upper - 0.06 * eye.opening) / np.maximum(lid, 1))
    displacement = np.zeros((*patch.shape[:2], 2), np.float32)
    displacement[..., 1] = np.where(y < lid, stretched - y, 0)
    moved = _remap(patch, displacement, cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP)
    # A dark line at the lid's edge: about 10 % of the opening wide, up to 55 % darker, fading at the eye's
    # corners.
    lashes = np.exp(-np.square((y - lid) / (0.10 * eye.opening + 0.5)))
    lashes *= 0.55 * closure * np.clip((lower - upper) / eye.opening * 2, 0, 1)
    return (moved * (1 - lashes)[..., None] + 0.5).astype(np.uint8)


def _remap(picture: Image, displacement: Float, flags: int) -> Image:
    out = cv2.remap(picture, displacement, None, flags, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]  OpenCV's stub requires map2, which is optional
    return np.asarray(out, np.uint8)
