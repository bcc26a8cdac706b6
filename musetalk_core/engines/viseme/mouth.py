"""The mouth of one source frame before any motion: lip edges, seam and the control points of the warp."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from musetalk_core.engine_protocol import FaceFrame
from musetalk_core.engines.viseme import numeric
from musetalk_core.engines.viseme.face_pose import FacePose, estimate_pose
from musetalk_core.engines.viseme.frame_record import FrameRecord, record_from_row
from musetalk_core.engines.viseme.lip_edges import LipEdges, lip_edges
from musetalk_core.engines.viseme.numeric import smoothstep_scalar
from musetalk_core.faces.mesh_topology import (
    CHIN,
    LEFT_EYE_OUTER,
    LEFT_MOUTH_CORNER,
    LOWER_LIP_INNER,
    LOWER_LIP_OUTER,
    MESH_POINTS,
    NOSE_BASE,
    RIGHT_EYE_OUTER,
    RIGHT_MOUTH_CORNER,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
)
from musetalk_core.types import Box, Float

CHIN_POINTS: Final = (18, 83, 313, 200, 201, 421, 199, 208, 428, 175)
JAW_POINTS: Final = (152, 148, 377, 176, 400, 149, 378, 150, 379, 136, 365, 172, 397, 58, 288)
_FIXED_MESH_POINTS: Final = (
    2,
    97,
    326,
    98,
    327,
    129,
    358,
    50,
    280,
    234,
    454,
    132,
    361,
    205,
    425,
    216,
    436,
    212,
    432,
)
"""Mesh points at the nose base and the cheeks, which hardly move with speech."""


def _fixed_rows(left: int, right: int) -> tuple[int, int]:
    start = numeric.FIXED.start
    return start + _FIXED_MESH_POINTS.index(left), start + _FIXED_MESH_POINTS.index(right)


CHEEK_SHARES: Final = (
    (_fixed_rows(216, 436), 0.75),
    (_fixed_rows(212, 432), 0.70),
    (_fixed_rows(205, 425), 0.45),
    (_fixed_rows(50, 280), 0.15),
    (_fixed_rows(132, 361), 0.10),
)
"""
Control points of the left and the right cheek, and the share of a mouth corner's motion that they follow.

Skin between a moving corner and a fixed cheek would be folded.
"""
_CHIN_MOTION_DEPTH: Final = 0.20
"""How far below the chin the chin's motion ends, in face units."""
_FRAME_POINTS: Final = np.array(
    [
        *((x, _CHIN_MOTION_DEPTH) for x in (-0.3, -0.15, 0.0, 0.15, 0.3)),
        *((-0.33, 0.11), (0.33, 0.11), (-0.2, -0.4), (0.2, -0.4)),
        *((x, y) for x in (-0.5, 0.5) for y in (-0.4, -0.1, 0.2, 0.5)),
    ],
    np.float32,
)
"""Fixed points around the motion in face units; the y of the first seven is relative to the chin."""
_FRAME_SLICE: Final = slice(numeric.FIXED.stop - len(_FRAME_POINTS), numeric.FIXED.stop)
_CHIN_RELATIVE_SLICE: Final = slice(_FRAME_SLICE.start, _FRAME_SLICE.start + 7)
_MESH_INDICES: Final = np.array(
    [
        *(*UPPER_LIP_OUTER, *UPPER_LIP_INNER, *([0] * 3), *_FIXED_MESH_POINTS, *([0] * len(_FRAME_POINTS))),
        *(*LOWER_LIP_OUTER, *LOWER_LIP_INNER, *CHIN_POINTS, *JAW_POINTS),
    ]
)
"""Mesh point index of each control point; 0 for the plane and the fixed frame."""
_NEUTRAL_WIDTH_OF_EYES: Final = 0.60
"""Width of a relaxed mouth over the distance of the outer eye corners: 0.56 to 0.63 without a smile."""
_FULL_MOTION_YAW_DEG, _MAX_YAW_DEG = 25.0, 45.0


@dataclass(frozen=True, slots=True, eq=False)
class Mouth:
    """
    One source mouth in face units.

    Attributes:
        pose:           of the face in the crop.
        edges:          inner lip edges.
        control_points: (108, 2) float32, laid out as in module `numeric`.
        nose:           (2,) float32, the nose base.
        seam:           (11, 2) float32, where the lips meet when they close.
        smile:          height of the corners above the middle; negative where an open mouth arches the lip.
        neutral_width:  width of the relaxed mouth over the source's, 0.75..1: smiles widen a mouth.
        motion_share:   1 frontal .. 0 turned away: share of all motion that is shown.
        chin_clearance: 0..1, share of the chin's motion that fits into the crop.
        record:         the frame's smoothed features.
    """

    pose: FacePose
    edges: LipEdges
    control_points: Float
    nose: Float
    seam: Float
    smile: float
    neutral_width: float
    motion_share: float
    chin_clearance: float
    record: FrameRecord

    @property
    def upper_outer(self) -> Float:
        """Return (11, 2) float32: upper edge of the upper lip."""
        return self.control_points[numeric.UPPER_OUTER]

    @property
    def lower_outer(self) -> Float:
        """Return (11, 2) float32: lower edge of the lower lip."""
        return self.control_points[numeric.LOWER_OUTER]

    @property
    def smile_strength(self) -> float:
        """Return 0 for a straight mouth .. 1 for a smile."""
        return smoothstep_scalar((self.smile - 0.012) / 0.025)

    @property
    def middle(self) -> float:
        """Return the x of the seam's middle."""
        return float(self.seam[0, 0] + self.seam[10, 0]) / 2

    @property
    def half_width(self) -> float:
        """Return half the length of the seam, at least 0.001."""
        return max(float(self.seam[10, 0] - self.seam[0, 0]) / 2, 1e-3)


def measure_mouth(face: FaceFrame, row: Float) -> Mouth:
    """
    Compute the mouth of a source frame; the last 64 are cached, so a still image is measured once.

    Args:
        face: the source frame.
        row:  (34,) float32, its smoothed features.
    """
    return _measure_cached(
        face.landmarks.astype(np.float32).tobytes(), row.astype(np.float32).tobytes(), face.box
    )


@lru_cache(maxsize=64)
def _measure_cached(landmarks: bytes, row: bytes, box: Box) -> Mouth:
    mesh = np.frombuffer(landmarks, np.float32).reshape(MESH_POINTS, 2) - np.array(
        [box.x1, box.y1], np.float32
    )
    record = record_from_row(np.frombuffer(row, np.float32))
    pose = estimate_pose(mesh, max(record.height, 1.0))
    points = pose.to_face_units(mesh)
    seam = record.seam + points[NOSE_BASE]
    edges = lip_edges(points, pose.height)
    return Mouth(
        pose=pose,
        edges=edges,
        control_points=_place_control_points(points, edges),
        nose=points[NOSE_BASE],
        seam=seam,
        smile=float(seam[5, 1] - (seam[0, 1] + seam[10, 1]) / 2),
        neutral_width=_neutral_width(points),
        motion_share=1
        - smoothstep_scalar((abs(record.yaw) - _FULL_MOTION_YAW_DEG) / (_MAX_YAW_DEG - _FULL_MOTION_YAW_DEG)),
        chin_clearance=_chin_clearance(mesh[CHIN], pose.height, box),
        record=record,
    )


def _place_control_points(points: Float, edges: LipEdges) -> Float:
    out = points[_MESH_INDICES]
    out[numeric.UPPER_INNER], out[numeric.LOWER_INNER] = edges.upper, edges.lower
    out[numeric.PLANE] = 0
    out[_FRAME_SLICE] = _FRAME_POINTS
    out[_CHIN_RELATIVE_SLICE, 1] += points[CHIN, 1]
    return out


def _neutral_width(points: Float) -> float:
    eyes = float(points[RIGHT_EYE_OUTER, 0] - points[LEFT_EYE_OUTER, 0])
    lips = float(points[RIGHT_MOUTH_CORNER, 0] - points[LEFT_MOUTH_CORNER, 0])
    return min(max(_NEUTRAL_WIDTH_OF_EYES * eyes / max(lips, 1e-3), 0.75), 1.0)


def _chin_clearance(chin: Float, height: float, box: Box) -> float:
    """Return the share 0..1 of the chin's motion that fits between chin and crop border (crop pixels)."""
    width, depth = box.size
    clearance = min(float(chin[0]), float(chin[1]), width - float(chin[0]), depth - float(chin[1])) / height
    return min(max((clearance - 0.04) / (_CHIN_MOTION_DEPTH - 0.04), 0.0), 1.0)
