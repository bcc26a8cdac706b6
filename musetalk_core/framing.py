"""Cutting a still picture around a face, and making it smaller."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from musetalk_core.errors import MediaUnreadable, NoFaceFound
from musetalk_core.faces.finding import chosen, find_faces
from musetalk_core.faces.following import FaceChoice
from musetalk_core.media.limits import Limits
from musetalk_core.media.picture import Picture
from musetalk_core.media.sniff import sniff
from musetalk_core.media.still import read_still
from musetalk_core.types import Box, Float

Crop = Literal["none", "face", "square", "portrait", "landscape"]

_SHAPES: Final = {"square": Fraction(1), "portrait": Fraction(9, 16), "landscape": Fraction(16, 9)}
"""Width over height."""
_HEAD: Final = 2.6
"""Side of the square of head and shoulders, in heights of the face from brows to chin."""
_UP: Final = 0.06
"""The face sits this share of the crop above its middle."""


@dataclass(frozen=True, slots=True)
class Frame:
    """
    What of a picture is shown.

    Attributes:
        crop:       which part.
        max_width:  in pixels, or None; a picture is never made larger.
        max_height: in pixels, or None.
    """

    crop: Crop = "none"
    max_width: int | None = None
    max_height: int | None = None


def framed(path: Path, target: Path, frame: Frame, face: FaceChoice, limits: Limits) -> None:
    """
    Write the wanted part of a still picture as PNG.

    Args:
        path:   the picture, any kind that `read_still` knows.
        target: the .png to write.
        frame:  what to show.
        face:   whose face it is cut around.
        limits: on the picture.

    Raises:
        NoFaceFound: it shall be cut around a face and shows none.
        MediaUnreadable, MediaTooLarge: see `read_still`.
    """
    sniffed = sniff(path)
    if not sniffed.is_still:
        raise MediaUnreadable("Only a still picture can be cropped or made smaller; this is a video.")
    picture = read_still(path, sniffed, limits)
    box = Box(0, 0, picture.width, picture.height)
    if frame.crop != "none":
        box = crop_box(picture, frame.crop, face)
    cut = picture.bgr()[box.y1 : box.y2, box.x1 : box.x2]
    width, height = _fitted(*box.size, frame)
    if (width, height) != box.size:
        cut = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)
    if not cv2.imwrite(str(target), cut):
        raise OSError(f"{target.name} could not be written")


def crop_box(picture: Picture, crop: Crop, face: FaceChoice) -> Box:
    """
    Find the part of a picture that a crop shows, with even sides.

    Raises:
        NoFaceFound: it shows none.
    """
    found = chosen(find_faces(picture), face, picture.width, picture.height)
    if found is None:
        raise NoFaceFound("The picture shows no face to crop around.")
    return placed(found.bounds, picture.width, picture.height, crop)


def placed(face: Float, width: int, height: int, crop: Crop) -> Box:
    """
    Lay a crop around a face, inside the picture.

    Args:
        face:   (4,) xyxy of the face.
        width:  of the picture.
        height: of the picture.
        crop:   not none.
    """
    if crop == "face":
        side = min(float(face[3] - face[1]) * _HEAD, width, height)
        w = h = side
    else:
        shape = _SHAPES[crop]
        w, h = min(width, float(height * shape)), min(height, float(width / shape))
    w, h = int(w) // 2 * 2, int(h) // 2 * 2
    x = _inside((face[0] + face[2]) / 2 - w / 2, width - w)
    y = _inside((face[1] + face[3]) / 2 - h / 2 + _UP * h, height - h)
    return Box(x, y, x + w, y + h)


def _inside(at: float, most: int) -> int:
    return int(np.clip(round(at), 0, most)) // 2 * 2


def _fitted(width: int, height: int, frame: Frame) -> tuple[int, int]:
    scale = min(
        Fraction(1),
        Fraction(frame.max_width or width, width),
        Fraction(frame.max_height or height, height),
    )
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)
