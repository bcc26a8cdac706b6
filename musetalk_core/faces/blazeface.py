"""BlazeFace (short range) face detection on whole pictures and on overlapping tiles."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from musetalk_core.faces.image_sampling import resize_area
from musetalk_core.faces.tflite import DETECTOR, load_network
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Float, Image

INPUT_PX: Final = 128
MIN_SCORE: Final = 0.5
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


ResizedView = Callable[[tuple[int, int]], Image]
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

    def view(box: Box) -> ResizedView:
        part = bgr[box.slices()]
        return lambda size: np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)

    height, width = bgr.shape[:2]
    detections = _search([(Box(0, 0, width, height), view)], folder)
    return detections or _search([(tile, view) for tile in search_tiles(width, height)], folder)


def detect_in_picture(picture: Picture, folder: Path | None = None, tiled: bool = True) -> list[Detection]:
    """
    Detect all faces in a picture, best score first; converts small thumbnails only.

    Args:
        picture: the frame.
        folder:  of the network file; None: inside this package.
        tiled:   search overlapping tiles (about 20 times slower) if the whole picture shows none.

    Raises:
        ModelNotInstalled: the network file is missing or damaged.
    """
    detections = detect_in_areas(picture, [Box(0, 0, picture.width, picture.height)], folder)
    if detections or not tiled:
        return detections
    return detect_in_areas(picture, search_tiles(picture.width, picture.height), folder)


def detect_in_areas(picture: Picture, areas: Sequence[Box], folder: Path | None = None) -> list[Detection]:
    """
    Detect the faces in some areas of a picture, best score first; duplicates are merged.

    Args:
        picture: the frame.
        areas:   boxes to search one by one; even coordinates inside the picture.
        folder:  of the network file; None: inside this package.

    Raises:
        ModelNotInstalled: the network file is missing or damaged.
    """

    def view(box: Box) -> ResizedView:
        return lambda size: resize_area(picture, box, size)

    return _search([(area, view) for area in areas], folder)


def search_tiles(width: int, height: int) -> list[Box]:
    """Return overlapping square tiles of a picture, large ones first; even coordinates."""
    longer = max(width, height)
    return [box for share in _TILE_SHARES for box in _tiles_of_size(width, height, int(longer * share) & ~1)]


def _tiles_of_size(width: int, height: int, side: int) -> Iterator[Box]:
    for y in _tile_starts(height, side):
        for x in _tile_starts(width, side):
            yield Box(x, y, min(x + side, width), min(y + side, height))


def _tile_starts(length: int, side: int) -> list[int]:
    steps = max(0, -(-2 * (length - side) // max(side, 2)))
    return [(length - side) * i // max(steps, 1) & ~1 for i in range(steps + 1)] if steps else [0]


def _search(
    areas: Sequence[tuple[Box, Callable[[Box], ResizedView]]], folder: Path | None
) -> list[Detection]:
    rows = [_candidates(box, view(box), folder) for box, view in areas if min(box.size) >= 2]
    return _merge_overlapping(np.concatenate(rows)) if rows else []


def _candidates(area: Box, view: ResizedView, folder: Path | None) -> Float:
    """Return (n, 17) float32 in picture pixels: box xyxy, six points, score; only above `MIN_SCORE`."""
    width, height = area.size
    scale = INPUT_PX / max(width, height)
    inner_width, inner_height = (max(2, round(n * scale / 2) * 2) for n in (width, height))
    left, top = (INPUT_PX - inner_width) // 2, (INPUT_PX - inner_height) // 2
    # letterbox: keep the aspect ratio, pad with black
    square = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
    square[top : top + inner_height, left : left + inner_width] = view((inner_width, inner_height))
    candidates = _run_network(square, folder)
    candidates[:, 0:16:2] = (candidates[:, 0:16:2] - left) * (width / inner_width) + area.x1
    candidates[:, 1:16:2] = (candidates[:, 1:16:2] - top) * (height / inner_height) + area.y1
    return candidates


def _run_network(square: Image, folder: Path | None) -> Float:
    """Run the network on a (128, 128, 3) BGR image; rows as in `_candidates`, in its pixels."""
    values = square[..., ::-1].astype(np.float32) / 127.5 - 1
    out = load_network(DETECTOR, folder)(values)
    raw, logits = out["regressors"][0], out["classificators"][0, :, 0]
    scores = 1 / (1 + np.exp(-np.clip(logits, -_LOGIT_LIMIT, _LOGIT_LIMIT)))
    is_candidate = scores > MIN_SCORE
    raw, anchors = raw[is_candidate], _anchors()[is_candidate] * INPUT_PX
    centre, half_size = raw[:, :2] + anchors, raw[:, 2:4] / 2
    points = raw[:, 4:16] + np.tile(anchors, 6)
    return np.hstack([centre - half_size, centre + half_size, points, scores[is_candidate, None]]).astype(
        np.float32
    )


@lru_cache(maxsize=1)
def _anchors() -> Float:
    """Return (896, 2) anchor centers in 0..1: a 16x16 grid with 2 each, then an 8x8 grid with 6 each."""
    grids: list[Float] = []
    for side, repeats in ((16, 2), (8, 6)):
        y, x = np.mgrid[:side, :side]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / side
        grids.append(np.repeat(centres, repeats, axis=0).astype(np.float32))
    return np.concatenate(grids)


def intersection_over_union(a: Float, b: Float) -> Float:
    """
    Return the intersection over union of one box with many.

    Args:
        a: (4,) xyxy.
        b: (n, 4) xyxy.

    Returns:
        (n,) float32 in 0..1.
    """
    size = np.minimum(a[2:], b[:, 2:]) - np.maximum(a[:2], b[:, :2])
    intersection = np.prod(np.maximum(size, 0), axis=1)
    areas = np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) + np.prod(np.maximum(a[2:] - a[:2], 0))
    return np.asarray(intersection / np.maximum(areas - intersection, 1e-9), np.float32)


def _merge_overlapping(rows: Float) -> list[Detection]:
    """Average overlapping candidates, weighted by score (BlazeFace's weighted non-maximum suppression)."""
    remaining = rows[np.argsort(-rows[:, 16], kind="stable")]
    out: list[Detection] = []
    while len(remaining):
        is_same_face = intersection_over_union(remaining[0, :4], remaining[:, :4]) > _SAME_FACE_IOU
        is_same_face[0] = True
        group = remaining[is_same_face]
        mean = np.average(group[:, :16], axis=0, weights=group[:, 16]).astype(np.float32)
        x1, y1, x2, y2 = (float(v) for v in mean[:4])
        out.append(Detection((x1, y1, x2, y2), float(group[0, 16]), mean[4:].reshape(6, 2)))
        remaining = remaining[~is_same_face]
    return out
