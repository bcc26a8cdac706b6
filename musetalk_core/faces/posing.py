"""Face tracking with MuseTalk's own networks: S3FD detects faces, DWPose finds their landmarks."""

from typing import Final

import numpy as np

from musetalk_core.faces.cuts import CutFinder
from musetalk_core.faces.detector import overlap
from musetalk_core.faces.finding import FoundFace, chosen
from musetalk_core.faces.following import FaceChoice, TrackedFace
from musetalk_core.media.picture import Picture
from musetalk_core.nets.dwpose import WholeBodyPose, face68
from musetalk_core.nets.s3fd import Detection, FaceDetector
from musetalk_core.types import Box, Float, Image

POINTS: Final = 70
"""68 points in iBUG order, then the two corners of the detector's box."""

_SAME_PERSON_IOU: Final = 0.2
_FORGET_AFTER: Final = 50
"""After this many frames without the face, a new shot with another person may start."""
_ASIDE, _ABOVE, _BELOW = 1.5, 0.8, 2.6
"""Margins of the person box in face widths and heights beyond the face."""


class PoseFollower:
    """A `FaceTracker` for DWPose landmarks. Detects in every frame; matches the person by overlap."""

    points = POINTS

    def __init__(
        self, detector: FaceDetector, pose: WholeBodyPose, choice: FaceChoice, upstream: bool = False
    ) -> None:
        """
        Start a clip.

        Args:
            detector: S3FD.
            pose:     DWPose.
            choice:   which of several faces, decided where a shot begins.
            upstream: as the original does: the detector's best face, whichever person it is, and the
                      landmarks found in the whole frame, which may be another person's.
        """
        self.detections = 0
        self._detector, self._pose, self._upstream = detector, pose, upstream
        self._choice: FaceChoice = choice
        self._cuts = CutFinder()
        self._index, self._shot, self._missing = -1, 0, 0
        self._last: Float | None = None

    def follow(self, picture: Picture) -> TrackedFace:
        """Find the face in the next frame; see `FaceTracker`."""
        self._index += 1
        self._missing += 1
        if self._cuts.is_cut(picture):
            self._shot, self._last = self._shot + 1, None
        image = picture.bgr()
        self.detections += 1
        found = self._wanted(self._detector.detect(image), picture)
        if found is None:
            return TrackedFace(self._index, None, 0.0, self._shot)
        self._last, self._missing = found.box, 0
        around = None if self._upstream else _person(found.box, picture)
        landmarks = np.concatenate([self._face_points(image, around), found.box.reshape(2, 2)])
        return TrackedFace(self._index, landmarks.astype(np.float32), found.score, self._shot)

    def _face_points(self, image: Image, around: Box | None) -> Float:
        return face68(self._pose.points(image, around)[0])

    def _wanted(self, found: list[Detection], picture: Picture) -> Detection | None:
        if self._upstream or not found:
            return found[0] if found else None
        boxes = np.array([face.box for face in found], np.float32)
        if self._last is not None:
            shared = overlap(self._last, boxes)
            if shared.max() > _SAME_PERSON_IOU:
                return found[int(shared.argmax())]
            if len(found) > 1 and self._missing < _FORGET_AFTER:
                return None  # the others were visible before, so none of them is the lost person
            self._shot += 1
        return self._chosen(found, picture)

    def _chosen(self, found: list[Detection], picture: Picture) -> Detection | None:
        by_size = sorted(found, key=_area, reverse=True)
        faces = [FoundFace(face.box.reshape(2, 2), face.score) for face in by_size]
        face = chosen(faces, self._choice, picture.width, picture.height)
        return None if face is None else by_size[faces.index(face)]


def _area(face: Detection) -> float:
    x1, y1, x2, y2 = face.box
    return float((x2 - x1) * (y2 - y1))


def _person(face: Float, picture: Picture) -> Box:
    """Return the box of head and shoulders: the pose network was trained on people, not on bare faces."""
    x1, y1, x2, y2 = (float(v) for v in face)
    width, height = x2 - x1, y2 - y1
    return Box(
        int(x1 - _ASIDE * width),
        int(y1 - _ABOVE * height),
        int(x2 + _ASIDE * width),
        int(y2 + _BELOW * height),
    ).clipped(picture.width, picture.height)
