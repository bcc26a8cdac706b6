"""Protocol of face restorers, which sharpen a rendered face before it is blended into its frame."""

from dataclasses import dataclass
from typing import Protocol

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Float, Image


@dataclass(frozen=True, slots=True, eq=False)
class RenderedFace:
    """
    A rendered face and its surroundings.

    Attributes:
        face:      (h, w, 3) uint8 BGR, the rendered face, scaled to `box`. Read-only.
        box:       position of the face in pixels.
        visible:   the part of the box that the blend mask shows; inside the picture.
        frame:     number of the source frame.
        picture:   the source frame.
        landmarks: (K, 2) float32 in pixels, of the source frame.
    """

    face: Image
    box: Box
    visible: Box
    frame: int
    picture: Picture
    landmarks: Float


class FaceRestorer(Protocol):
    """Restores the faces of consecutive output frames. May keep state from one frame to the next."""

    def restore(self, rendered: RenderedFace) -> Image:
        """Return the restored face, (h, w, 3) uint8 BGR of the size of `rendered.box`."""
        ...
