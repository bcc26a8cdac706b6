"""Warnings about a prepared avatar: several faces, a small face, a small picture, frames without a face."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from musetalk_core.faces.tracker_protocol import FaceChoice, FacesInFrame
from musetalk_core.warning_codes import WarningCode, resolution_warnings

_TINY_FACE_PX: Final = 64
_MAX_LISTED_FACES: Final = 8


def avatar_warnings(
    size: tuple[int, int],
    choice: FaceChoice,
    shots: npt.NDArray[Any],
    face_heights: list[float],
    several_faces: FacesInFrame | None,
) -> tuple[str, ...]:
    """
    Return the warnings about an avatar, each `code: sentence`.

    Args:
        size:          width and height of the picture in pixels.
        choice:        the requested face; several faces are worth a warning only if it is the default.
        shots:         (T,) shot number per frame, -1 without a face.
        face_heights:  height in pixels of the face in each frame that shows it.
        several_faces: the faces of the first frame with more than one.
    """
    warnings: list[str] = []
    if several_faces is not None and choice == "largest":
        warnings.append(WarningCode.SEVERAL_FACES(_describe_faces(several_faces)))
    height = float(np.median(face_heights)) if face_heights else 0.0
    if 0 < height < _TINY_FACE_PX:
        warnings.append(
            WarningCode.TINY_FACE(
                f"the face is {height:.0f} pixels high; from about {_TINY_FACE_PX} pixels on, lips are clear"
            )
        )
    warnings += resolution_warnings(*size, "send a larger one")
    missing = int((shots < 0).sum())
    if missing:
        warnings.append(WarningCode.FACE_MISSING(f"{missing} of {len(shots)} source frames show no face"))
    return tuple(warnings)


def _describe_faces(found: FacesInFrame) -> str:
    faces = [
        f"{number} at ({(x1 + x2) // 2}, {(y1 + y2) // 2}), {y2 - y1} pixels high"
        for number, (x1, y1, x2, y2) in enumerate(found.boxes[:_MAX_LISTED_FACES])
    ]
    return (
        f"frame {found.index} shows {len(found.boxes)} faces and face {found.chosen} is used:"
        f" {'; '.join(faces)}. To use another, set face to its number, left, right or most_central"
    )
