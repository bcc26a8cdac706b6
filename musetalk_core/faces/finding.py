"""All faces of one picture, each confirmed by the mesh, and which of them is meant."""

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
    One confirmed face.

    Attributes:
        landmarks: (468, 2) float32, mesh in pixels of the picture.
        score:     0..1, how sure the mesh is.
    """

    landmarks: Float
    score: float

    @property
    def bounds(self) -> Float:
        """(4,) float32 xyxy around the mesh."""
        return bounds(self.landmarks)


def bounds(landmarks: Float) -> Float:
    """Give the (4,) float32 xyxy box around points (n, 2)."""
    return np.concatenate([landmarks.min(0), landmarks.max(0)]).astype(np.float32)


def find_faces(picture: Picture, folder: Path | None = None, tiled: bool = True) -> list[FoundFace]:
    """
    Find all faces, largest first; small ones are looked for in tiles when the whole shows none.

    Args:
        picture: the frame.
        folder:  where the networks lie; None = inside this package.
        tiled:   whether to look through tiles (50 ms and more) at all.

    Raises:
        ModelNotInstalled: a network is missing or damaged.
    """
    whole = Box(0, 0, picture.width, picture.height)
    found = faces_within(picture, [whole], folder)
    return found if found or not tiled else faces_within(picture, tiles(*whole.size), folder)


def faces_within(picture: Picture, areas: Sequence[Box], folder: Path | None = None) -> list[FoundFace]:
    """
    Find the faces of some areas, largest first.

    Args:
        picture: the frame.
        areas:   boxes to look at, each on its own; even coordinates inside the picture.
        folder:  where the networks lie; None = inside this package.

    Raises:
        ModelNotInstalled: a network is missing or damaged.
    """
    return confirmed(picture, detect_within(picture, areas, folder), folder)


def confirmed(
    picture: Picture,
    detections: Sequence[Detection],
    folder: Path | None = None,
    most: int = _MOST_FACES,
) -> list[FoundFace]:
    """
    Fit the mesh to detections, largest first, and drop what is no face or twice the same.

    Args:
        picture:    the frame.
        detections: candidates, best first.
        folder:     where the network lies; None = inside this package.
        most:       candidates that are looked at.

    Raises:
        ModelNotInstalled: the network is missing or damaged.
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
    Pick the face that is meant.

    Args:
        faces:  largest first.
        choice: see `musetalk_core.faces.following.FaceChoice`.
        width:  of the picture in pixels.
        height: of the picture in pixels.

    Returns:
        The face, or None when there are none or fewer than the number asks for.
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
    Give the mesh of the face that other landmarks describe.

    Args:
        picture: the frame.
        points:  (K, 2) float32 landmarks of any kind, in pixels.

    Returns:
        (468, 2) float32.

    Raises:
        NoFaceFound: the mesh sees no face there.
        ModelNotInstalled: a network is missing or damaged.
    """
    faces = find_faces(picture)
    shared = overlap(bounds(points), np.array([face.bounds for face in faces], np.float32).reshape(-1, 4))
    if not faces or shared.max() <= 0:
        raise NoFaceFound("the face of the picture is not clear enough to let it blink and sway")
    return faces[int(shared.argmax())].landmarks
