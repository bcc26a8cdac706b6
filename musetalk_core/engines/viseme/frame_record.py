"""The per-frame features of the viseme engine: a short row of numbers that can be smoothed over the clip."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from musetalk_core.engine_protocol import FaceFrame
from musetalk_core.engines.viseme.face_pose import FacePose, estimate_pose
from musetalk_core.engines.viseme.grain import measure_grain
from musetalk_core.engines.viseme.lip_edges import LipEdges, lip_edges
from musetalk_core.faces.head_yaw import estimate_yaw_deg
from musetalk_core.faces.mesh_topology import NOSE_BASE, face_height
from musetalk_core.types import Float, Image

SIZE: Final = 34
HEIGHT, GAP, SHARPNESS, YAW, TEETH = range(5)
SKIN, LIP, SEAM, GRAIN = slice(5, 8), slice(8, 11), slice(11, 33), 33
"""Columns of a row: H in pixels; the rest in face units, degrees, 0..1 and levels."""

_SKIN_POINTS = (50, 280, 205, 425, 117, 346)
_LIP_POINTS = (0, 17, 37, 267, 84, 314)
_GRAIN_POINTS, _GRAIN_RADIUS = (50, 280), 0.03
_SHARPNESS_WIDTH_PX = 64
"""Width in pixels to which a mouth is scaled before its sharpness is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameRecord:
    """The features of one frame by name; see the columns above. `seam` is (11, 2) from the nose base."""

    height: float
    gap: float
    sharpness: float
    yaw: float
    teeth: float
    skin: Float
    lip: Float
    seam: Float
    grain: float = 0.0

    def to_row(self) -> Float:
        """Return the features as a (34,) float32 row."""
        head = [self.height, self.gap, self.sharpness, self.yaw, self.teeth]
        return np.concatenate([head, self.skin, self.lip, self.seam.ravel(), [self.grain]]).astype(np.float32)


def record_from_row(row: Float) -> FrameRecord:
    """Read features from a (34,) float32 row."""
    head = (float(v) for v in row[:5])
    return FrameRecord(
        *head, skin=row[SKIN], lip=row[LIP], seam=row[SEAM].reshape(11, 2), grain=float(row[GRAIN])
    )


def measure_frame(face: FaceFrame) -> FrameRecord:
    """
    Measure the features of one source frame.

    Args:
        face: its crop and mesh.
    """
    height = max(face_height(face.landmarks), 1.0)
    mesh = face.landmarks - np.array([face.box.x1, face.box.y1], np.float32)
    pose = estimate_pose(mesh, height)
    points = pose.to_face_units(mesh)
    edges = lip_edges(points, height)
    skin = np.maximum(_median_colour(face.crop, mesh, _SKIN_POINTS), 10)
    return FrameRecord(
        height=height,
        gap=edges.gap,
        sharpness=_sharpness(face.crop, pose),
        yaw=estimate_yaw_deg(mesh),
        teeth=_teeth_share(face.crop, pose, edges, float(skin.mean())),
        skin=skin,
        lip=_median_colour(face.crop, mesh, _LIP_POINTS),
        seam=edges.seam - points[NOSE_BASE],
        grain=measure_grain(face.crop, mesh[list(_GRAIN_POINTS)], max(3, round(_GRAIN_RADIUS * height))),
    )


def _median_colour(crop: Image, mesh: Float, indices: tuple[int, ...]) -> Float:
    """Return (3,) float32 BGR, the median color at some mesh points; 128 each for an empty crop."""
    if crop.size == 0:
        return np.full(3, 128, np.float32)
    sample_points = np.clip(
        np.round(mesh[list(indices)]).astype(int), 0, [crop.shape[1] - 1, crop.shape[0] - 1]
    )
    return np.median(crop[sample_points[:, 1], sample_points[:, 0]].astype(np.float32), axis=0)


def _sharpness(crop: Image, pose: FacePose) -> float:
    """Return the edge strength around the mouth at a fixed size, to compare frames of one clip."""
    x, y = pose.centre
    half_width = max(4, round(0.22 * pose.height))
    window = crop[max(0, int(y) - half_width // 2) : max(0, int(y) + half_width // 2)]
    window = window[:, max(0, int(x) - half_width) : max(0, int(x) + half_width)]
    if min(window.shape[:2]) < 4:
        return 0.0
    grey = cv2.cvtColor(window, cv2.COLOR_BGR2GRAY)
    grey = cv2.resize(grey, (_SHARPNESS_WIDTH_PX, _SHARPNESS_WIDTH_PX // 2), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std() / (grey.mean() + 8))


def _teeth_share(crop: Image, pose: FacePose, edges: LipEdges, skin: float) -> float:
    """Return the share 0..1 of the open mouth that is as bright and as unsaturated as teeth."""
    corners = np.vstack([edges.upper, edges.lower[::-1]])
    mask = np.zeros(crop.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(pose.to_pixels(corners)).astype(np.int32)], 255)
    mouth_pixels = crop[mask > 0].astype(np.float32)
    if edges.gap < 0.012 or len(mouth_pixels) < 8:
        return 0.0
    brightest, darkest = mouth_pixels.max(axis=1), mouth_pixels.min(axis=1)
    return float(
        np.mean((mouth_pixels.mean(axis=1) > 0.72 * skin) & (brightest - darkest < 0.45 * brightest))
    )
