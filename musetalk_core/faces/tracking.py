"""Face mesh tracking: each mesh starts from the previous frame's; the detector runs if that fails."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.faces.cuts import CutFinder
from musetalk_core.faces.detector import detect_within, overlap, tiles
from musetalk_core.faces.finding import FoundFace, bounds, chosen, faces_within, find_faces
from musetalk_core.faces.following import FaceChoice, TrackedFace
from musetalk_core.faces.mesh import ACCEPTED, mesh_in, region_of_mesh
from musetalk_core.faces.topology import MESH_POINTS, face_height
from musetalk_core.media.picture import Picture
from musetalk_core.types import Box, Float

_JUMP: Final = 0.3
"""A face that moves by more than this many face heights between frames starts a new shot."""
_SAME_PERSON_IOU: Final = 0.1
_FORGET_AFTER: Final = 50
"""After this many frames without the face, a new shot with another person may start."""
_TILES_EVERY: Final = 8
"""Without a face, tiles are searched in every eighth frame only: they cost 20 whole-frame searches."""
_CHECK_EVERY: Final = 25
_NEARBY: Final = 3.0
"""Side of the area searched around a lost face over the face's own side."""


class Tracker:
    """A `FaceTracker` for the face mesh. Its state is one mesh and counters, whatever the clip's length."""

    points = MESH_POINTS

    def __init__(self, choice: FaceChoice = "largest", folder: Path | None = None) -> None:
        self.detections = 0
        """Frames on which the detector ran so far."""
        self.meshes = 0
        """Frames whose mesh was started from the previous frame, without the detector."""
        self._choice: FaceChoice = choice
        self._folder = folder
        self._cuts = CutFinder()
        self._index = -1
        self._shot = 0
        self._last: Float | None = None
        self._missing = 0
        self._several = False

    def follow(self, picture: Picture) -> TrackedFace:
        """
        Find the face in the next frame.

        Raises:
            ModelNotInstalled: a network file is missing or damaged.
        """
        self._index += 1
        if self._cuts.is_cut(picture):
            self._new_shot()
        face = self._continued(picture) or self._found_again(picture)
        if face is None:
            self._missing += 1
            return TrackedFace(self._index, None, 0.0, self._shot)
        if self._last is not None and not self._missing and _jumped(self._last, face.landmarks):
            self._shot += 1
        self._last, self._missing = face.landmarks, 0
        return TrackedFace(self._index, face.landmarks, face.score, self._shot)

    def _new_shot(self) -> None:
        self._shot += 1
        self._last, self._missing, self._several = None, 0, False

    def _continued(self, picture: Picture) -> FoundFace | None:
        """Fit the mesh at the previous frame's position; None if the face is not there any more."""
        if self._last is None or self._missing:
            return None
        self.meshes += 1
        face = FoundFace(*mesh_in(picture, region_of_mesh(self._last), self._folder))
        if face.score <= ACCEPTED:
            return None
        if self._several and self._index % _CHECK_EVERY == 0 and not self._is_detected(picture, face):
            return None
        return face

    def _is_detected(self, picture: Picture, face: FoundFace) -> bool:
        """Return whether the detector confirms the mesh's position; True if it finds no face there."""
        self.detections += 1
        found = detect_within(picture, [_around(face.landmarks, picture)], self._folder)
        boxes = np.array([d.box for d in found], np.float32).reshape(-1, 4)
        return not found or bool((overlap(face.bounds, boxes) > _SAME_PERSON_IOU).any())

    def _found_again(self, picture: Picture) -> FoundFace | None:
        """
        Detect the lost person near the last position, else any person.

        If the shot shows several people, a lost face stays missing for a while, because the others are not
        the same person. A single face that appears elsewhere starts a new shot: a cut that the brightness did
        not show.
        """
        self.detections += 1
        if self._last is not None and self._missing < _FORGET_AFTER:
            near = faces_within(picture, [_around(self._last, picture)], self._folder)
            same = _same_person(self._last, near)
            if same is not None or self._several:
                return same
        faces = self._everybody(picture)
        face = chosen(faces, self._choice, picture.width, picture.height)
        if face is not None:
            self._several = len(faces) > 1
            self._shot += self._last is not None
            self._last = None
        return face

    def _everybody(self, picture: Picture) -> list[FoundFace]:
        whole = Box(0, 0, picture.width, picture.height)
        if self._missing % _TILES_EVERY:
            return faces_within(picture, [whole], self._folder)
        if self._choice in ("largest", 0):
            return find_faces(picture, self._folder)
        # The chosen face may be a small one that only tiles show.
        return faces_within(picture, [whole, *tiles(*whole.size)], self._folder)


def track(
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
    tracker = Tracker(choice, folder)
    for picture in pictures:
        yield tracker.follow(picture)


def _jumped(before: Float, now: Float) -> bool:
    return float(np.linalg.norm(now.mean(0) - before.mean(0))) > _JUMP * face_height(now)


def _around(landmarks: Float, picture: Picture) -> Box:
    x1, y1, x2, y2 = (float(v) for v in bounds(landmarks))
    reach = max(x2 - x1, y2 - y1) * _NEARBY / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    box = Box(int(x - reach), int(y - reach), int(x + reach), int(y + reach))
    return box.evened().clipped(picture.width, picture.height)


def _same_person(landmarks: Float, faces: Sequence[FoundFace]) -> FoundFace | None:
    """Return the face that overlaps the last known one most; None if none overlaps enough."""
    if not faces:
        return None
    shared = overlap(bounds(landmarks), np.array([f.bounds for f in faces], np.float32))
    best = int(shared.argmax())
    return faces[best] if shared[best] > _SAME_PERSON_IOU else None
