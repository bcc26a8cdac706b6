"""Face tracking with MuseTalk's own networks: S3FD detects faces, DWPose finds their landmarks."""

from typing import Final

import numpy as np

from musetalk_core.faces.blazeface import intersection_over_union
from musetalk_core.faces.face_finder import VerifiedFace, list_faces, select_face
from musetalk_core.faces.scene_cuts import SceneCutDetector
from musetalk_core.faces.tracker_protocol import FaceChoice, FacesInFrame, TrackedFace
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.networks.dwpose import WholeBodyPose, face68
from musetalk_core.networks.s3fd import Detection, FaceDetector
from musetalk_core.types import Box, Float, Image

POINT_COUNT: Final = 70
"""68 points in iBUG order, then the two corners of the detector's box."""

_SAME_PERSON_IOU: Final = 0.2
_MAX_MISSING_FRAMES: Final = 50
"""After this many frames without the face, a new shot with another person may start."""
_PERSON_MARGIN_ASIDE, _PERSON_MARGIN_ABOVE, _PERSON_MARGIN_BELOW = 1.5, 0.8, 2.6
"""Margins of the person box in face widths and heights beyond the face."""


class DwposeTracker:
    """A `FaceTracker` for DWPose landmarks. Detects in every frame; matches the person by overlap."""

    point_count = POINT_COUNT

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
        self.detection_count = 0
        self.several_faces: FacesInFrame | None = None
        """See `FaceTracker`."""
        self._detector, self._pose, self._upstream = detector, pose, upstream
        self._choice: FaceChoice = choice
        self._cuts = SceneCutDetector()
        self._index, self._shot, self._missing_frames = -1, 0, 0
        self._last_box: Float | None = None

    def update(self, picture: Picture) -> TrackedFace:
        """Find the face in the next frame; see `FaceTracker`."""
        self._index += 1
        self._missing_frames += 1
        if self._cuts.is_cut(picture):
            self._shot, self._last_box = self._shot + 1, None
        image = picture.bgr()
        self.detection_count += 1
        detection = self._select_detection(self._detector.detect(image), picture)
        if detection is None:
            return TrackedFace(self._index, None, 0.0, self._shot)
        self._last_box, self._missing_frames = detection.box, 0
        person_box = None if self._upstream else _person_box(detection.box, picture)
        landmarks = np.concatenate([self._face_points(image, person_box), detection.box.reshape(2, 2)])
        return TrackedFace(self._index, landmarks.astype(np.float32), detection.score, self._shot)

    def _face_points(self, image: Image, person_box: Box | None) -> Float:
        return face68(self._pose.points(image, person_box)[0])

    def _select_detection(self, detections: list[Detection], picture: Picture) -> Detection | None:
        if self._upstream or not detections:
            return detections[0] if detections else None
        boxes = np.array([face.box for face in detections], np.float32)
        if self._last_box is not None:
            overlaps = intersection_over_union(self._last_box, boxes)
            if overlaps.max() > _SAME_PERSON_IOU:
                return detections[int(overlaps.argmax())]
            if len(detections) > 1 and self._missing_frames < _MAX_MISSING_FRAMES:
                return None  # the others were visible before, so none of them is the lost person
            self._shot += 1
        return self._select_by_choice(detections, picture)

    def _select_by_choice(self, detections: list[Detection], picture: Picture) -> Detection | None:
        by_size = sorted(detections, key=_area, reverse=True)
        faces = [VerifiedFace(face.box.reshape(2, 2), face.score) for face in by_size]
        face = select_face(faces, self._choice, picture.width, picture.height)
        if len(faces) > 1 and self.several_faces is None:
            self.several_faces = list_faces(self._index, faces, face)
        return None if face is None else by_size[faces.index(face)]


def _area(face: Detection) -> float:
    x1, y1, x2, y2 = face.box
    return float((x2 - x1) * (y2 - y1))


def _person_box(face: Float, picture: Picture) -> Box:
    """Return the box of head and shoulders: the pose network was trained on people, not on bare faces."""
    x1, y1, x2, y2 = (float(v) for v in face)
    width, height = x2 - x1, y2 - y1
    return Box(
        int(x1 - _PERSON_MARGIN_ASIDE * width),
        int(y1 - _PERSON_MARGIN_ABOVE * height),
        int(x2 + _PERSON_MARGIN_ASIDE * width),
        int(y2 + _PERSON_MARGIN_BELOW * height),
    ).clip(picture.width, picture.height)
