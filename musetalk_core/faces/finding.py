"""Face search in one picture: detections verified by the face mesh, and the choice among several faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.errors import NoFaceFound
from musetalk_core.faces.detector import Detection, detect_within, overlap, tiles
from musetalk_core.faces.following import FaceChoice
from musetalk_core.faces.mesh import ACCEPTED, mesh_of_detection
from musetalk_core.media.picture import Picture
from musetalk_core.types import Box, Float

_MOST_FACES: Final = 12
_SAME_FACE_IOU: Final = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """
    A detected face, verified by the mesh.

    Attributes:
        landmarks: (468, 2) float32, mesh in pixels of the picture.
        score:     0..1, confidence of the mesh.
    """

    landmarks: Float
    score: float

    @property
    def bounds(self) -> Float:
        """Return (4,) float32 xyxy around the mesh."""
        return bounds(self.landmarks)


def bounds(landmarks: Float) -> Float:
    """Return the (4,) float32 xyxy box around (n, 2) points."""
    return np.concatenate([landmarks.min(0), landmarks.max(0)]).astype(np.float32)


def find_faces(picture: Picture, folder: Path | None = None, tiled: bool = True) -> list[FoundFace]:
    """
    Find all faces, largest first; searches tiles for small faces if the whole picture shows none.

    Args:
        picture: the frame.
        folder:  of the network files; None: inside this package.
        tiled:   whether tiles are searched (50 ms and more).

    Raises:
        ModelNotInstalled: a network file is missing or damaged.
    """
    whole = Box(0, 0, picture.width, picture.height)
    found = faces_within(picture, [whole], folder)
    return found if found or not tiled else faces_within(picture, tiles(*whole.size), folder)


def faces_within(picture: Picture, areas: Sequence[Box], folder: Path | None = None) -> list[FoundFace]:
    """
    Find the faces in some areas of a picture, largest first.

    Args:
        picture: the frame.
        areas:   boxes to search one by one; even coordinates inside the picture.
        folder:  of the network files; None: inside this package.

    Raises:
        ModelNotInstalled: a network file is missing or damaged.
    """
    return confirmed(picture, detect_within(picture, areas, folder), folder)


def confirmed(
    picture: Picture,
    detections: Sequence[Detection],
    folder: Path | None = None,
    most: int = _MOST_FACES,
) -> list[FoundFace]:
    """
    Fit the mesh to detections; drop detections that are no face, and duplicates.

    Args:
        picture:        the frame.
        detections:     candidates, best first.
        folder:         of the network file; None: inside this package.
        max_candidates: number of candidates to verify.

    Returns:
        Verified faces, largest first.

    Raises:
        ModelNotInstalled: the network file is missing or damaged.
    """
    out: list[FoundFace] = []
    for detection in detections[:most]:
        face = FoundFace(*mesh_of_detection(picture, detection, folder))
        known = np.array([other.bounds for other in out], np.float32).reshape(-1, 4)
        if face.score > ACCEPTED and not (overlap(face.bounds, known) > _SAME_FACE_IOU).any():
            out.append(face)
    return sorted(out, key=_area, reverse=True)


def _area(face: FoundFace) -> float:
    x1, y1, x2, y2 = face.bounds
    return float((x2 - x1) * (y2 - y1))


def chosen(faces: Sequence[FoundFace], choice: FaceChoice, width: int, height: int) -> FoundFace | None:
    """
    Select one of several faces.

    Args:
        faces:  largest first.
        choice: see `FaceChoice`.
        width:  of the picture in pixels.
        height: of the picture in pixels.

    Returns:
        The face; None if there is none, or the number is out of range.
    """
    if isinstance(choice, int):
        return faces[choice] if 0 <= choice < len(faces) else None
    if not faces:
        return None
    middles = np.array([(f.bounds[:2] + f.bounds[2:]) / 2 for f in faces])
    match choice:
        case "largest":
            return faces[0]
        case "left":
            return faces[int(middles[:, 0].argmin())]
        case "right":
            return faces[int(middles[:, 0].argmax())]
        case "most_central":
            return faces[int(np.hypot(*(middles - (width / 2, height / 2)).T).argmin())]


def mesh_at(picture: Picture, points: Float) -> Float:
    """
    Return the mesh of the face that other landmarks belong to.

    Args:
        picture: the frame.
        points:  (K, 2) float32 landmarks of any model, in pixels.

    Returns:
        (468, 2) float32, in pixels.

    Raises:
        NoFaceFound: the mesh finds no face there.
        ModelNotInstalled: a network file is missing or damaged.
    """
    faces = find_faces(picture)
    shared = overlap(bounds(points), np.array([face.bounds for face in faces], np.float32).reshape(-1, 4))
    if not faces or shared.max() <= 0:
        raise NoFaceFound("the face in the picture is not clear enough for idle motion (blinks, sway)")
    return faces[int(shared.argmax())].landmarks
