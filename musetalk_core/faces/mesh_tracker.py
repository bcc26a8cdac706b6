"""Face mesh tracking: each mesh starts from the previous frame's; the detector runs if that fails."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.faces.blazeface import detect_in_areas, intersection_over_union, search_tiles
from musetalk_core.faces.face_finder import (
    VerifiedFace,
    bounds,
    find_faces,
    find_faces_in_areas,
    list_faces,
    select_face,
)
from musetalk_core.faces.face_mesh import MIN_MESH_SCORE, fit_mesh, region_of_mesh
from musetalk_core.faces.mesh_topology import MESH_POINTS, face_height
from musetalk_core.faces.scene_cuts import SceneCutDetector
from musetalk_core.faces.tracker_protocol import FaceChoice, FacesInFrame, TrackedFace
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Float

_MAX_JUMP: Final = 0.3
"""A face that moves by more than this many face heights between frames starts a new shot."""
_SAME_PERSON_IOU: Final = 0.1
_MAX_MISSING_FRAMES: Final = 50
"""After this many frames without the face, a new shot with another person may start."""
_TILE_SEARCH_INTERVAL: Final = 8
"""Without a face, tiles are searched in every eighth frame only: they cost 20 whole-frame searches."""
_CHECK_INTERVAL_FRAMES: Final = 25
_SEARCH_SCALE: Final = 3.0
"""Side of the area searched around a lost face over the face's own side."""


class MeshTracker:
    """A `FaceTracker` for the face mesh. Its state is one mesh and counters, whatever the clip's length."""

    point_count = MESH_POINTS

    def __init__(self, choice: FaceChoice = "largest", folder: Path | None = None) -> None:
        self.detection_count = 0
        """Frames on which the detector ran so far."""
        self.propagated_mesh_count = 0
        """Frames whose mesh was started from the previous frame, without the detector."""
        self.several_faces: FacesInFrame | None = None
        """See `FaceTracker`."""
        self._choice: FaceChoice = choice
        self._folder = folder
        self._cut_detector = SceneCutDetector()
        self._index = -1
        self._shot = 0
        self._last_landmarks: Float | None = None
        self._missing_frames = 0
        self._has_several_faces = False

    def update(self, picture: Picture) -> TrackedFace:
        """
        Find the face in the next frame.

        Raises:
            ModelNotInstalled: a network file is missing or damaged.
        """
        self._index += 1
        if self._cut_detector.is_cut(picture):
            self._start_shot()
        face = self._track_from_previous(picture) or self._detect_face(picture)
        if face is None:
            self._missing_frames += 1
            return TrackedFace(self._index, None, 0.0, self._shot)
        if (
            self._last_landmarks is not None
            and not self._missing_frames
            and _has_jumped(self._last_landmarks, face.landmarks)
        ):
            self._shot += 1
        self._last_landmarks, self._missing_frames = face.landmarks, 0
        return TrackedFace(self._index, face.landmarks, face.score, self._shot)

    def _start_shot(self) -> None:
        self._shot += 1
        self._last_landmarks, self._missing_frames, self._has_several_faces = None, 0, False

    def _track_from_previous(self, picture: Picture) -> VerifiedFace | None:
        """Fit the mesh at the previous frame's position; None if the face is not there any more."""
        if self._last_landmarks is None or self._missing_frames:
            return None
        self.propagated_mesh_count += 1
        face = VerifiedFace(*fit_mesh(picture, region_of_mesh(self._last_landmarks), self._folder))
        if face.score <= MIN_MESH_SCORE:
            return None
        if (
            self._has_several_faces
            and self._index % _CHECK_INTERVAL_FRAMES == 0
            and not self._is_detected(picture, face)
        ):
            return None
        return face

    def _is_detected(self, picture: Picture, face: VerifiedFace) -> bool:
        """Return whether the detector confirms the mesh's position; True if it finds no face there."""
        self.detection_count += 1
        detections = detect_in_areas(picture, [_search_area(face.landmarks, picture)], self._folder)
        boxes = np.array([d.box for d in detections], np.float32).reshape(-1, 4)
        return not detections or bool(
            (intersection_over_union(face.bounding_box, boxes) > _SAME_PERSON_IOU).any()
        )

    def _detect_face(self, picture: Picture) -> VerifiedFace | None:
        """
        Detect the lost person near the last position, else any person.

        If the shot shows several people, a lost face stays missing for a while, because the others are not
        the same person. A single face that appears elsewhere starts a new shot: a cut that the brightness did
        not show.
        """
        self.detection_count += 1
        if self._last_landmarks is not None and self._missing_frames < _MAX_MISSING_FRAMES:
            nearby_faces = find_faces_in_areas(
                picture, [_search_area(self._last_landmarks, picture)], self._folder
            )
            same_person = _find_same_person(self._last_landmarks, nearby_faces)
            if same_person is not None or self._has_several_faces:
                return same_person
        faces = self._find_all_faces(picture)
        face = select_face(faces, self._choice, picture.width, picture.height)
        if len(faces) > 1 and self.several_faces is None:
            self.several_faces = list_faces(self._index, faces, face)
        if face is not None:
            self._has_several_faces = len(faces) > 1
            self._shot += self._last_landmarks is not None
            self._last_landmarks = None
        return face

    def _find_all_faces(self, picture: Picture) -> list[VerifiedFace]:
        whole = Box(0, 0, picture.width, picture.height)
        if self._missing_frames % _TILE_SEARCH_INTERVAL:
            return find_faces_in_areas(picture, [whole], self._folder)
        if self._choice in ("largest", 0):
            return find_faces(picture, self._folder)
        # The chosen face may be a small one that only tiles show.
        return find_faces_in_areas(picture, [whole, *search_tiles(*whole.size)], self._folder)


def track_face(
    pictures: Iterable[Picture], choice: FaceChoice = "largest", folder: Path | None = None
) -> Iterator[TrackedFace]:
    """
    Track one face through a clip; yields one result per picture, lazily.

    Args:
        pictures: the frames in order; consumed one at a time.
        choice:   which of several faces, decided where a shot begins.
        folder:   of the network files; None: inside this package.

    Raises:
        ModelNotInstalled: a network file is missing or damaged.
    """
    tracker = MeshTracker(choice, folder)
    for picture in pictures:
        yield tracker.update(picture)


def _has_jumped(before: Float, now: Float) -> bool:
    return float(np.linalg.norm(now.mean(0) - before.mean(0))) > _MAX_JUMP * face_height(now)


def _search_area(landmarks: Float, picture: Picture) -> Box:
    x1, y1, x2, y2 = (float(v) for v in bounds(landmarks))
    reach = max(x2 - x1, y2 - y1) * _SEARCH_SCALE / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    box = Box(int(x - reach), int(y - reach), int(x + reach), int(y + reach))
    return box.align_even().clip(picture.width, picture.height)


def _find_same_person(landmarks: Float, faces: Sequence[VerifiedFace]) -> VerifiedFace | None:
    """Return the face that overlaps the last known one most; None if none overlaps enough."""
    if not faces:
        return None
    overlaps = intersection_over_union(
        bounds(landmarks), np.array([f.bounding_box for f in faces], np.float32)
    )
    best = int(overlaps.argmax())
    return faces[best] if overlaps[best] > _SAME_PERSON_IOU else None
