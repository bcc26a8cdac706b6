"""Face search in one picture: detections verified by the face mesh, and the choice among several faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.errors import NoFaceFound
from musetalk_core.faces.blazeface import Detection, detect_in_areas, intersection_over_union, search_tiles
from musetalk_core.faces.face_mesh import MIN_MESH_SCORE, fit_mesh_to_detection
from musetalk_core.faces.tracker_protocol import FaceChoice, FacesInFrame
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Float

_MAX_CANDIDATES: Final = 12
_SAME_FACE_IOU: Final = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedFace:
    """
    A detected face, verified by the mesh.

    Attributes:
        landmarks: (468, 2) float32, mesh in pixels of the picture.
        score:     0..1, confidence of the mesh.
    """

    landmarks: Float
    score: float

    @property
    def bounding_box(self) -> Float:
        """Return (4,) float32 xyxy around the mesh."""
        return bounds(self.landmarks)


def bounds(landmarks: Float) -> Float:
    """Return the (4,) float32 xyxy box around (n, 2) points."""
    return np.concatenate([landmarks.min(0), landmarks.max(0)]).astype(np.float32)


def find_faces(picture: Picture, folder: Path | None = None, tiled: bool = True) -> list[VerifiedFace]:
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
    faces = find_faces_in_areas(picture, [whole], folder)
    return faces if faces or not tiled else find_faces_in_areas(picture, search_tiles(*whole.size), folder)


def find_faces_in_areas(
    picture: Picture, areas: Sequence[Box], folder: Path | None = None
) -> list[VerifiedFace]:
    """
    Find the faces in some areas of a picture, largest first.

    Args:
        picture: the frame.
        areas:   boxes to search one by one; even coordinates inside the picture.
        folder:  of the network files; None: inside this package.

    Raises:
        ModelNotInstalled: a network file is missing or damaged.
    """
    return verify_detections(picture, detect_in_areas(picture, areas, folder), folder)


def verify_detections(
    picture: Picture,
    detections: Sequence[Detection],
    folder: Path | None = None,
    max_candidates: int = _MAX_CANDIDATES,
) -> list[VerifiedFace]:
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
    verified: list[VerifiedFace] = []
    for detection in detections[:max_candidates]:
        face = VerifiedFace(*fit_mesh_to_detection(picture, detection, folder))
        known_boxes = np.array([other.bounding_box for other in verified], np.float32).reshape(-1, 4)
        if (
            face.score > MIN_MESH_SCORE
            and not (intersection_over_union(face.bounding_box, known_boxes) > _SAME_FACE_IOU).any()
        ):
            verified.append(face)
    return sorted(verified, key=_area, reverse=True)


def _area(face: VerifiedFace) -> float:
    x1, y1, x2, y2 = face.bounding_box
    return float((x2 - x1) * (y2 - y1))


def select_face(
    faces: Sequence[VerifiedFace], choice: FaceChoice, width: int, height: int
) -> VerifiedFace | None:
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
    middles = np.array([(f.bounding_box[:2] + f.bounding_box[2:]) / 2 for f in faces])
    match choice:
        case "largest":
            return faces[0]
        case "left":
            return faces[int(middles[:, 0].argmin())]
        case "right":
            return faces[int(middles[:, 0].argmax())]
        case "most_central":
            return faces[int(np.hypot(*(middles - (width / 2, height / 2)).T).argmin())]


def list_faces(index: int, faces: Sequence[VerifiedFace], chosen: VerifiedFace | None) -> FacesInFrame:
    """
    Return where the faces of a frame are.

    Args:
        index:  frame number.
        faces:  largest first.
        chosen: one of them; None if none was chosen.
    """
    boxes = [tuple(round(float(value)) for value in face.bounding_box) for face in faces]
    number = next((number for number, face in enumerate(faces) if face is chosen), None)
    return FacesInFrame(index, tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in boxes), number)


def find_mesh_for_landmarks(picture: Picture, points: Float) -> Float:
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
    overlaps = intersection_over_union(
        bounds(points), np.array([face.bounding_box for face in faces], np.float32).reshape(-1, 4)
    )
    if not faces or overlaps.max() <= 0:
        raise NoFaceFound("the face in the picture is not clear enough for idle motion (blinks, sway)")
    return faces[int(overlaps.argmax())].landmarks
