"""Measures of single frames: seam, colour shift, dark mouth corners, teeth, unchanged surroundings."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.quality.frame_pair import ChangedRegion
from musetalk_core.quality.mouth_patch import PX_PER_H, Bools, FaceMarks, MouthPatch, dilate, erode, fill
from musetalk_core.types import Box, Float

_SEAM_OFFSET_H, _MIN_SEAM_OFFSET_PX, _SEAM_SEGMENT_H = 0.012, 2.0, 0.08
_SEAM_PERCENTILE: Final = 90
_CORNER_RADIUS_H, _CORNER_OFFSET_H, _CORNER_LIP_MARGIN_H, _DARK_PERCENTILE = 0.045, 0.05, 0.012, 3
_MIN_PIXELS: Final = 12
_OPENING_MARGIN_H, _TEETH_SHARE_OF_CHEEK = 0.008, 0.5
_BLOCK_PX, _OUTSIDE_PERCENTILE = 16, 99


def seam_step(source: Picture, output: Picture, region: ChangedRegion, unit: float) -> float:
    """
    Return the step of brightness that rendering adds at the border of the changed region, in levels.

    The difference of output and source is compared on both sides of the border and averaged over segments of
    0.08 H, so that noise cancels; the 90th percentile of the segments counts. 0 if there is no border.

    Args:
        source: the source frame.
        output: the output frame.
        region: the changed region.
        unit:   face height in pixels.
    """
    if len(region.border) < _MIN_PIXELS:
        return 0.0
    offset = max(_MIN_SEAM_OFFSET_PX, _SEAM_OFFSET_H * unit)
    area = region.box.expand(int(2 * offset) + 4).clip(output.width, output.height)
    difference = cv2.subtract(output.y[area.slices()], source.y[area.slices()], dtype=cv2.CV_32F)
    difference = cv2.GaussianBlur(difference, (0, 0), 1.0)
    points = region.border - np.array([area.x1, area.y1], np.float32)
    # five samples across the border: idle motion moves it by up to 0.01 H
    profile = [
        cv2.remap(  # pyright: ignore[reportCallIssue]
            difference,
            (points + place * offset * region.outward)[None].astype(np.float32),
            None,  # pyright: ignore[reportArgumentType]  OpenCV's type stub requires map2
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )[0]
        for place in range(-2, 3)
    ]
    starts = np.arange(0, len(points), max(4, round(_SEAM_SEGMENT_H * unit)))
    counts = np.diff(np.append(starts, len(points)))
    across = np.stack([np.add.reduceat(levels, starts) / counts for levels in profile])
    steps = np.abs(across[2:] - across[:-2]).max(0)
    return float(np.percentile(steps, _SEAM_PERCENTILE))


def colour_difference(patch: MouthPatch) -> float | None:
    """Return the CIE76 difference of the mean skin colour around the lips; None without skin."""
    if np.count_nonzero(patch.skin) < _MIN_PIXELS:
        return None
    means = [picture[patch.skin].mean(0) / 255 for picture in (patch.source, patch.output)]
    lab = cv2.cvtColor(np.array([means], np.float32), cv2.COLOR_BGR2LAB)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def corner_darkness(patch: MouthPatch) -> Float:
    """
    Return how much darker than skin the darkest pixels just outside each mouth corner are, above the source.

    Remains of the source's mouth beside the new one are such pixels; folds of a smile are in both pictures.

    Returns:
        (2,) float32, left and right, as a share of the skin's brightness; NaN where nothing can be measured.
    """
    return _corner_darkness(patch.output_luma, patch.output_marks) - _corner_darkness(
        patch.source_luma, patch.source_marks
    )


def _corner_darkness(luma: Float, marks: FaceMarks) -> Float:
    lips = dilate(fill(marks.lips), _CORNER_LIP_MARGIN_H * PX_PER_H)
    along = marks.corners[1] - marks.corners[0]
    along = along / max(float(np.hypot(*along)), 1e-6)
    out = np.full(2, np.nan, np.float32)
    for number, side in enumerate((-1, 1)):
        x, y = marks.corners[number] + side * _CORNER_OFFSET_H * PX_PER_H * along
        spot = np.zeros_like(lips)
        cv2.circle(spot, (round(float(x)), round(float(y))), round(_CORNER_RADIUS_H * PX_PER_H), 255, -1)
        levels = luma[(spot & ~lips) > 0]
        if len(levels) >= _MIN_PIXELS:
            dark, skin = np.percentile(levels, (_DARK_PERCENTILE, 50))
            out[number] = 1 - dark / max(float(skin), 1.0)
    return out


def teeth_detail(patch: MouthPatch) -> float | None:
    """
    Return the contrast of the teeth along their row, relative to their brightness; None if none are shown.

    Rows of teeth have gaps, and darken towards the corners of the mouth. A flat bar has neither.
    """
    opening = erode(fill(patch.output_marks.opening), _OPENING_MARGIN_H * PX_PER_H)
    bright = (
        np.float32(_TEETH_SHARE_OF_CHEEK * np.median(patch.output_luma[patch.cheeks]))
        if (patch.cheeks.any())
        else np.float32(255)
    )
    teeth = np.asarray((opening > 0) & (patch.output_luma > bright), np.uint8)
    teeth = cv2.erode(teeth, np.ones((1, 5), np.uint8), borderValue=0) > 0
    if np.count_nonzero(teeth) < _MIN_PIXELS:
        return None
    narrow, wide = (_blur_along_rows(patch.output_luma, teeth, sigma) for sigma in (1.0, 4.0))
    detail = (narrow - wide)[teeth]
    # the median leaves out lips that the mesh counts as opening
    return float(np.median(np.abs(detail)) / patch.output_luma[teeth].mean())


def _blur_along_rows(luma: Float, mask: Bools, sigma: float) -> Float:
    """Average within the mask only, so that lips beside the teeth do not count."""
    weights = mask.astype(np.float32)
    blurred, total = (
        cv2.GaussianBlur(layer, (0, 0), sigmaX=sigma, sigmaY=0.8) for layer in (luma * weights, weights)
    )
    return np.asarray(blurred / np.maximum(total, 1e-3), np.float32)


def outside_difference(source: Picture, output: Picture, changed: Box) -> float | None:
    """
    Return how much the pixels outside the changed region differ, in levels of 8 bits.

    Means of blocks of 16x16 pixels are compared, since encoding changes single pixels; the 99th percentile of
    the blocks and the worst of Y, U and V count. None if the region covers the picture.
    """
    worst = None
    for before, after, scale in (
        (source.y, output.y, 1),
        (source.u, output.u, 2),
        (source.v, output.v, 2),
    ):
        difference = _block_means(after.astype(np.float32) - before, _BLOCK_PX // scale)
        margin = changed.expand(_BLOCK_PX)
        keep = np.ones(difference.shape, np.bool_)
        rows = slice(max(0, margin.y1 // _BLOCK_PX), max(0, -(-margin.y2 // _BLOCK_PX)))
        columns = slice(max(0, margin.x1 // _BLOCK_PX), max(0, -(-margin.x2 // _BLOCK_PX)))
        keep[rows, columns] = False
        if keep.any():
            here = float(np.percentile(np.abs(difference[keep]), _OUTSIDE_PERCENTILE))
            worst = here if worst is None else max(worst, here)
    return worst


def _block_means(plane: Float, block: int) -> Float:
    height, width = max(1, plane.shape[0] // block), max(1, plane.shape[1] // block)
    whole = plane[: height * block, : width * block] if min(plane.shape) >= block else plane
    means = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.float32)
