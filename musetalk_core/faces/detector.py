"""BlazeFace (short range) face detection on whole pictures and on overlapping tiles."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from musetalk_core.faces.models import DETECTOR, network
from musetalk_core.faces.sampling import shrunk
from musetalk_core.media.picture import Picture
from musetalk_core.types import Box, Float, Image

INPUT_PX: Final = 128
SCORE: Final = 0.5
_SAME_FACE_IOU: Final = 0.3
_LOGIT_LIMIT: Final = 80.0
_TILE_SHARES: Final = (0.5, 0.25)
"""Sides of the search tiles as shares of the picture's longer side; tiles overlap by half."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """
    A detected face.

    Attributes:
        box:    x1, y1, x2, y2 in pixels, not clipped to the picture.
        score:  0..1.
        points: (6, 2) float32 pixels: left eye, right eye, nose, mouth, left ear, right ear, as seen by the
                viewer.
    """

    box: tuple[float, float, float, float]
    score: float
    points: Float

    @property
    def area(self) -> float:
        """Return the area in square pixels."""
        x1, y1, x2, y2 = self.box
        return max(0.0, x2 - x1) * max(0.0, y2 - y1)

    @property
    def centre(self) -> tuple[float, float]:
        """Return the middle of the box in pixels."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2


View = Callable[[tuple[int, int]], Image]
"""Returns the searched area resized to (width, height) as (height, width, 3) uint8 BGR."""


def detect(bgr: Image, folder: Path | None = None) -> list[Detection]:
    """
    Detect all faces in an image, best score first; searches tiles if the whole image shows none.

    Args:
        bgr:    (H, W, 3) uint8 BGR.
        folder: of the network file; None: inside this package.

    Raises:
        ModelNotInstalled: the network file is missing or damaged.
    """

    def view(box: Box) -> View:
        part = bgr[box.slices()]
        return lambda size: np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)

    height, width = bgr.shape[:2]
    whole = _search([(Box(0, 0, width, height), view)], folder)
    return whole or _search([(tile, view) for tile in tiles(width, height)], folder)


def detect_in(picture: Picture, folder: Path | None = None, tiled: bool = True) -> list[Detection]:
    """
    Detect all faces in a picture, best score first; converts small thumbnails only.

    Args:
        picture: the frame.
        folder:  of the network file; None: inside this package.
        tiled:   search overlapping tiles (about 20 times slower) if the whole picture shows none.

    Raises:
        ModelNotInstalled: the network file is missing or damaged.
    """
    found = detect_within(picture, [Box(0, 0, picture.width, picture.height)], folder)
    if found or not tiled:
        return found
    return detect_within(picture, tiles(picture.width, picture.height), folder)


def detect_within(picture: Picture, areas: Sequence[Box], folder: Path | None = None) -> list[Detection]:
    """
    Detect the faces in some areas of a picture, best score first; duplicates are merged.

    Args:
        picture: the frame.
        areas:   boxes to search one by one; even coordinates inside the picture.
        folder:  of the network file; None: inside this package.

    Raises:
        ModelNotInstalled: the network file is missing or damaged.
    """

    def view(box: Box) -> View:
        return lambda size: shrunk(picture, box, size)

    return _search([(area, view) for area in areas], folder)


def tiles(width: int, height: int) -> list[Box]:
    """Return overlapping square tiles of a picture, large ones first; even coordinates."""
    longer = max(width, height)
    return [box for share in _TILE_SHARES for box in _tiles_of(width, height, int(longer * share) & ~1)]


def _tiles_of(width: int, height: int, side: int) -> Iterator[Box]:
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield Box(x, y, min(x + side, width), min(y + side, height))


def _starts(length: int, side: int) -> list[int]:
    steps = max(0, -(-2 * (length - side) // max(side, 2)))
    return [(length - side) * i // max(steps, 1) & ~1 for i in range(steps + 1)] if steps else [0]


def _search(areas: Sequence[tuple[Box, Callable[[Box], View]]], folder: Path | None) -> list[Detection]:
    rows = [_candidates(box, view(box), folder) for box, view in areas if min(box.size) >= 2]
    return _merged(np.concatenate(rows)) if rows else []


def _candidates(area: Box, view: View, folder: Path | None) -> Float:
    """Return (n, 17) float32 in picture pixels: box xyxy, six points, score; only above `MIN_SCORE`."""
    width, height = area.size
    scale = INPUT_PX / max(width, height)
    inner_width, inner_height = (max(2, round(n * scale / 2) * 2) for n in (width, height))
    left, top = (INPUT_PX - inner_width) // 2, (INPUT_PX - inner_height) // 2
    # letterbox: keep the aspect ratio, pad with black
    square = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
    square[top : top + inner_height, left : left + inner_width] = view((inner_width, inner_height))
    found = _decoded(square, folder)
    found[:, 0:16:2] = (found[:, 0:16:2] - left) * (width / inner_width) + area.x1
    found[:, 1:16:2] = (found[:, 1:16:2] - top) * (height / inner_height) + area.y1
    return found


def _decoded(square: Image, folder: Path | None) -> Float:
    """Run the network on a (128, 128, 3) BGR image; rows as in `_candidates`, in its pixels."""
    values = square[..., ::-1].astype(np.float32) / 127.5 - 1
    out = network(DETECTOR, folder)(values)
    raw, logits = out["regressors"][0], out["classificators"][0, :, 0]
    scores = 1 / (1 + np.exp(-np.clip(logits, -_LOGIT_LIMIT, _LOGIT_LIMIT)))
    keep = scores > SCORE
    raw, anchors = raw[keep], _anchors()[keep] * INPUT_PX
    middle, half = raw[:, :2] + anchors, raw[:, 2:4] / 2
    points = raw[:, 4:16] + np.tile(anchors, 6)
    return np.hstack([middle - half, middle + half, points, scores[keep, None]]).astype(np.float32)


@lru_cache(maxsize=1)
def _anchors() -> Float:
    """Return (896, 2) anchor centers in 0..1: a 16x16 grid with 2 each, then an 8x8 grid with 6 each."""
    grids: list[Float] = []
    for side, repeats in ((16, 2), (8, 6)):
        y, x = np.mgrid[:side, :side]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / side
        grids.append(np.repeat(centres, repeats, axis=0).astype(np.float32))
    return np.concatenate(grids)


def overlap(a: Float, b: Float) -> Float:
    """
    Return the intersection over union of one box with many.

    Args:
        a: (4,) xyxy.
        b: (n, 4) xyxy.

    Returns:
        (n,) float32 in 0..1.
    """
    size = np.minimum(a[2:], b[:, 2:]) - np.maximum(a[:2], b[:, :2])
    shared = np.prod(np.maximum(size, 0), axis=1)
    areas = np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) + np.prod(np.maximum(a[2:] - a[:2], 0))
    return np.asarray(shared / np.maximum(areas - shared, 1e-9), np.float32)


def _merged(rows: Float) -> list[Detection]:
    """Average overlapping candidates, weighted by score (BlazeFace's weighted non-maximum suppression)."""
    left = rows[np.argsort(-rows[:, 16], kind="stable")]
    out: list[Detection] = []
    while len(left):
        same = overlap(left[0, :4], left[:, :4]) > _SAME_FACE_IOU
        same[0] = True
        group = left[same]
        mean = np.average(group[:, :16], axis=0, weights=group[:, 16]).astype(np.float32)
        x1, y1, x2, y2 = (float(v) for v in mean[:4])
        out.append(Detection((x1, y1, x2, y2), float(group[0, 16]), mean[4:].reshape(6, 2)))
        left = left[~same]
    return out
