"""A drawn face for tests of the viseme engine: skin, lips and teeth where the mesh has them."""

import cv2
import numpy as np

from musetalk_core.engine_protocol import Conditioning, Engine, FaceFrame
from musetalk_core.engines.viseme.engine import VisemeEngine
from musetalk_core.faces import mesh_topology

ENGINE: Engine = VisemeEngine()
SKIN, LIPS, TEETH = (120, 150, 200), (70, 70, 170), (225, 230, 235)
SILENT, WIDE, ROUND, CLOSED = (0, 0, 0), (0.95, 0, 0), (0.3, -1, 0), (0, 0, 1)
ALONG = np.linspace(-1, 1, 11)


def mesh(height=200.0, centre=(200, 220), gap=0.0, roll=0.0):
    """A frontal face in proportions of H; points that the renderer ignores are on the nose."""
    points = np.tile(np.float32([0, -0.2]), (468, 1))
    belly, (up, down) = np.sqrt(1 - ALONG**2), (0.35 * gap, 0.65 * gap)
    points[mesh_topology.UPPER_LIP_INNER] = np.stack([0.12 * ALONG, -up * belly], 1)
    points[mesh_topology.LOWER_LIP_INNER] = np.stack([0.12 * ALONG, down * belly], 1)
    points[mesh_topology.UPPER_LIP_OUTER] = np.stack([0.135 * ALONG, -(0.045 + up) * belly], 1)
    points[mesh_topology.LOWER_LIP_OUTER] = np.stack([0.135 * ALONG, (0.055 + down) * belly], 1)
    turn = np.linspace(-np.pi / 2, 1.5 * np.pi, 36, endpoint=False)
    points[mesh_topology.OVAL] = np.stack([0.36 * np.cos(turn), -0.23 + 0.52 * np.sin(turn)], 1)
    for x, down_, indices in ((0.2, -0.15, (50, 117, 205)), (0.3, -0.1, (93, 132, 234))):
        for index, other in zip(indices, ((280, 346, 425), (323, 361, 454))[x > 0.25], strict=True):
            points[index], points[other] = (-x, down_), (x, down_)
    for number, index in enumerate((18, 83, 313, 200, 201, 421, 199, 208, 428, 175)):
        points[index] = ((number % 3 - 1) * 0.05, 0.12 + 0.012 * number)
    places = {
        2: (0, -0.13),
        4: (0, -0.21),
        10: (0, -0.755),
        152: (0, 0.29),
        33: (-0.24, -0.42),
        263: (0.24, -0.42),
    }
    for index, place in places.items():
        points[index] = place
    for index, x in ((97, -0.03), (326, 0.03), (98, -0.04), (327, 0.04), (129, -0.06), (358, 0.06)):
        points[index] = (x, -0.14)
    cos, sin = np.cos(roll), np.sin(roll)
    return (points @ np.array([[cos, sin], [-sin, cos]]) * height + centre).astype(np.float32)


def portrait(points, size=(400, 420)):
    """Paint skin with some grain, lips and teeth where the mesh has them."""
    width, depth = size
    picture = np.full((depth, width, 3), SKIN, np.int16)
    picture += np.random.default_rng(5).integers(-12, 13, (depth, width, 1), dtype=np.int16)
    picture = cv2.GaussianBlur(picture.astype(np.uint8), (0, 0), 0.8)
    for upper, lower, colour in (
        (mesh_topology.UPPER_LIP_OUTER, mesh_topology.LOWER_LIP_OUTER, LIPS),
        (mesh_topology.UPPER_LIP_INNER, mesh_topology.LOWER_LIP_INNER, TEETH),
    ):
        outline = np.vstack([points[upper], points[lower][::-1]])
        cv2.fillPoly(picture, [np.round(outline * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)
    return picture


def face(gap=0.0, index=0, size=(400, 420), **kwargs):
    points = mesh(gap=gap, **kwargs)
    picture = portrait(points, size)
    box = ENGINE.crop_box(points, *size).align_even().clip(*size)
    return FaceFrame(index, 0, box, np.ascontiguousarray(picture[box.slices()]), points)


def knowledge(*faces, donors=None):
    records = np.stack([kept.frame_features for kept in ENGINE.encode_faces(iter(faces))])
    return Conditioning(ENGINE.smooth_features(records, [0] * len(faces), 25), donors or {})


def speak(one, *rows, known=None):
    return ENGINE.render([one] * len(rows), known or knowledge(one), features(*rows))


def features(*rows):
    """Return speech features; the tongue rests unless a row has a fourth number."""
    return np.float32([[*row, 0][:4] for row in rows])
