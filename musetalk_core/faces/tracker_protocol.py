"""The protocol of face trackers, which follow one person's face through a clip."""

from dataclasses import dataclass
from typing import Literal, Protocol

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Float

FaceChoice = Literal["largest", "left", "right", "most_central"] | int
"""The choice among several faces; a number counts from 0 = largest. Left and right are the viewer's."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """
    The face of one frame.

    Attributes:
        index:     frame number, from 0.
        landmarks: (K, 2) float32 in pixels, not smoothed; None if there is no face.
        score:     0..1; 0 if there is no face.
        shot:      shot number, from 0. A shot lies between two cuts and shows one person only.
    """

    index: int
    landmarks: Float | None
    score: float
    shot: int


@dataclass(frozen=True, slots=True)
class FacesInFrame:
    """
    Several faces that one frame shows.

    Attributes:
        index:  frame number, from 0.
        boxes:  left, top, right and bottom of each face in pixels, largest first.
        chosen: number of the face that is tracked, from 0; None if the choice names a face that is not there.
    """

    index: int
    boxes: tuple[tuple[int, int, int, int], ...]
    chosen: int | None


class FaceTracker(Protocol):
    """A tracker that receives the frames of a clip in order. Its state does not grow with the clip."""

    point_count: int
    """K, the number of landmarks."""
    detection_count: int
    """Frames on which a face detector ran so far."""
    several_faces: FacesInFrame | None
    """The first frame in which the face was chosen among several; None while there was only one."""

    def update(self, picture: Picture) -> TrackedFace:
        """
        Find the face in the next frame.

        Raises:
            ModelNotInstalled: a network file is missing or damaged.
        """
        ...
