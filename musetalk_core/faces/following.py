"""Following one person's face through a clip: the protocol, whatever finds the landmarks."""

from dataclasses import dataclass
from typing import Literal, Protocol

from musetalk_core.media.picture import Picture
from musetalk_core.types import Float

FaceChoice = Literal["largest", "left", "right", "most_central"] | int
"""Which face of several; a number counts from 0 = largest. Left and right are the picture's."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """
    The face of one frame.

    Attributes:
        index:     number of the frame, from 0.
        landmarks: (K, 2) float32 in pixels, not smoothed; None where there is no face.
        score:     0..1, 0 where there is no face.
        shot:      number of the shot, from 0: between two cuts, and always one person.
    """

    index: int
    landmarks: Float | None
    score: float
    shot: int


class Follower(Protocol):
    """Looks at the frames of a clip in order. Keeps a bounded state, whatever the length of the clip."""

    points: int
    """K, the number of its landmarks."""
    detections: int
    """Frames a detector has looked at so far."""

    def follow(self, picture: Picture) -> TrackedFace:
        """
        Find the face in the next frame.

        Raises:
            ModelNotInstalled: a network is missing or damaged.
        """
        ...
