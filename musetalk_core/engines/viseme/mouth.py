"""The mouth of one source frame before anybody speaks: its edges, its seam and what holds still around it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from musetalk_core.engine import FaceFrame
from musetalk_core.engines.viseme.edges import LipEdges, lip_edges
from musetalk_core.engines.viseme.pose import Pose, pose_of
from musetalk_core.engines.viseme.record import Record, unpacked
from musetalk_core.engines.viseme.steps import step
from musetalk_core.faces.topology import CHIN, LOWER_LIP_OUTER, MESH_POINTS, NOSE_BASE, UPPER_LIP_OUTER
from musetalk_core.types import Box, Float

CHIN_POINTS: Final = (18, 83, 313, 200, 201, 421, 199, 208, 428, 175)
JAW_POINTS: Final = (152, 148, 377, 176, 400, 149, 378, 150, 379, 136, 365, 172, 397, 58, 288)
_STILL: Final = (2, 97, 326, 98, 327, 129, 358, 50, 280, 117, 346, 234, 454, 93, 323, 132, 361, 205, 425)
"""Nose base and cheeks: what speech does not move."""
_BELOW_CHIN: Final = 0.20
"""How far under the chin its motion ends."""
_TURNED_DEG, _AWAY_DEG = 25.0, 45.0


@dataclass(frozen=True, slots=True, eq=False)
class Mouth:
    """
    One source mouth in face units.

    Attributes:
        pose:        where the face lies in the crop.
        edges:       inner lips as they are.
        upper_outer: (11, 2) float32, upper edge of the upper lip.
        lower_outer: (11, 2) float32, lower edge of the lower lip.
        chin:        (10, 2) float32, between lip and jaw.
        jaw:         (15, 2) float32, outline.
        still:       (N, 2) float32, points that must not move.
        nose:        (2,) float32, the nose base.
        seam:        (11, 2) float32, where the lips meet when they close.
        smile:       how far the corners stand above the middle; negative where an open mouth arches the lip.
        motion:      1 frontal .. 0 turned away: share of all motion that is shown.
        room:        share of the chin's travel that fits into the crop.
        record:      the frame's row.
    """

    pose: Pose
    edges: LipEdges
    upper_outer: Float
    lower_outer: Float
    chin: Float
    jaw: Float
    still: Float
    nose: Float
    seam: Float
    smile: float
    motion: float
    room: float
    record: Record

    @property
    def middle(self) -> float:
        """Where the seam has its middle, along x."""
        return float(self.seam[0, 0] + self.seam[10, 0]) / 2

    @property
    def half_width(self) -> float:
        """Half the length of the seam."""
        return max(float(self.seam[10, 0] - self.seam[0, 0]) / 2, 1e-3)


def mouth_of(face: FaceFrame, row: Float) -> Mouth:
    """
    Work out the mouth of a source frame; the last few are remembered, so a still costs this once.

    Args:
        face: the frame.
        row:  (33,) float32, its settled record.
    """
    return _mouth(face.landmarks.astype(np.float32).tobytes(), row.astype(np.float32).tobytes(), face.box)


@lru_cache(maxsize=64)
def _mouth(landmarks: bytes, row: bytes, box: Box) -> Mouth:
    mesh = np.frombuffer(landmarks, np.float32).reshape(MESH_POINTS, 2) - np.array(
        [box.x1, box.y1], np.float32
    )
    kept = unpacked(np.frombuffer(row, np.float32))
    pose = pose_of(mesh, max(kept.height, 1.0))
    points = pose.local(mesh)
    seam = kept.seam + points[NOSE_BASE]
    return Mouth(
        pose=pose,
        edges=lip_edges(points, pose.height),
        upper_outer=points[UPPER_LIP_OUTER],
        lower_outer=points[LOWER_LIP_OUTER],
        chin=points[list(CHIN_POINTS)],
        jaw=points[list(JAW_POINTS)],
        still=_still(points),
        nose=points[NOSE_BASE],
        seam=seam,
        smile=float(seam[5, 1] - (seam[0, 1] + seam[10, 1]) / 2),
        motion=1 - step((abs(kept.yaw) - _TURNED_DEG) / (_AWAY_DEG - _TURNED_DEG)),
        room=_room(mesh[CHIN], pose.height, box),
        record=kept,
    )


def _still(points: Float) -> Float:
    low = float(points[CHIN, 1])
    below = [(x, low + _BELOW_CHIN) for x in (-0.3, -0.15, 0.0, 0.15, 0.3)]
    sides = [(-0.33, low + 0.11), (0.33, low + 0.11), (-0.2, -0.4), (0.2, -0.4)]
    ring = [(x, y) for x in (-0.5, 0.5) for y in (-0.4, -0.1, 0.2, 0.5)]
    return np.vstack([points[list(_STILL)], np.array(below + sides + ring, np.float32)])


def _room(chin: Float, height: float, box: Box) -> float:
    """How much of the chin's travel fits between it and the crop's border (both in crop pixels)."""
    width, depth = box.size
    space = min(float(chin[0]), float(chin[1]), width - float(chin[0]), depth - float(chin[1])) / height
    return min(max((space - 0.04) / (_BELOW_CHIN - 0.04), 0.0), 1.0)
