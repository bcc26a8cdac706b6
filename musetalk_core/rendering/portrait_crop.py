"""Crop a still picture around a face and scale it down."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from musetalk_core.errors import MediaUnreadable, NoFaceFound
from musetalk_core.faces.face_finder import find_faces, select_face
from musetalk_core.faces.tracker_protocol import FaceChoice
from musetalk_core.media.image.still import read_still
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import sniff
from musetalk_core.types import Box, Float

CropShape = Literal["none", "face", "square", "portrait", "landscape"]

_ASPECT_RATIOS: Final = {"square": Fraction(1), "portrait": Fraction(9, 16), "landscape": Fraction(16, 9)}
"""Aspect ratio, width over height, by crop shape."""
_HEAD_SCALE: Final = 2.6
"""Side of the head-and-shoulders square, in face heights (brows to chin)."""
_FACE_RAISE_SHARE: Final = 0.06
"""The face center lies this share of the crop's height above the crop's center."""


@dataclass(frozen=True, slots=True)
class CropOptions:
    """
    Options for cropping and scaling a still picture.

    Attributes:
        crop:       shape of the crop; `none` keeps the whole picture.
        max_width:  in pixels, None = unlimited. A picture is never enlarged.
        max_height: in pixels, None = unlimited.
    """

    crop: CropShape = "none"
    max_width: int | None = None
    max_height: int | None = None


def write_cropped_still(
    path: Path, target: Path, options: CropOptions, face: FaceChoice, limits: MediaLimits
) -> None:
    """
    Crop and scale a still picture and write it as PNG.

    Args:
        path:    the picture, in any format that `read_still` accepts.
        target:  the .png to write.
        options: crop shape and maximum size.
        face:    which face to crop around.
        limits:  limits on the picture.

    Raises:
        NoFaceFound: a crop is requested, but the picture shows no face.
        MediaUnreadable, MediaTooLarge: see `read_still`.
    """
    sniffed = sniff(path)
    if not sniffed.is_still:
        raise MediaUnreadable("Only a still picture can be cropped or scaled down; this is not an image.")
    picture = read_still(path, sniffed, limits)
    box = Box(0, 0, picture.width, picture.height)
    if options.crop != "none":
        box = crop_box(picture, options.crop, face)
    cropped = picture.bgr()[box.y1 : box.y2, box.x1 : box.x2]
    width, height = _fit_within_limits(*box.size, options)
    if (width, height) != box.size:
        cropped = cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA)
    if not cv2.imwrite(str(target), cropped):
        raise OSError(f"{target.name} could not be written")


def crop_box(picture: Picture, crop: CropShape, face: FaceChoice) -> Box:
    """
    Detect the selected face and return the crop box around it, with even coordinates.

    Raises:
        NoFaceFound: the picture shows no face.
    """
    selected_face = select_face(find_faces(picture), face, picture.width, picture.height)
    if selected_face is None:
        raise NoFaceFound("The picture shows no face to crop around.")
    return crop_around_face(selected_face.bounding_box, picture.width, picture.height, crop)


def crop_around_face(face: Float, width: int, height: int, crop: CropShape) -> Box:
    """
    Return the crop box around a face, with even coordinates inside the picture.

    Args:
        face:   (4,) float32 xyxy of the face in pixels.
        width:  of the picture in pixels.
        height: of the picture in pixels.
        crop:   the shape; not `none`.
    """
    if crop == "face":
        side = min(float(face[3] - face[1]) * _HEAD_SCALE, width, height)
        w = h = side
    else:
        aspect_ratio = _ASPECT_RATIOS[crop]
        w, h = min(width, float(height * aspect_ratio)), min(height, float(width / aspect_ratio))
    w, h = int(w) // 2 * 2, int(h) // 2 * 2
    x = _clamp_to_even((face[0] + face[2]) / 2 - w / 2, width - w)
    y = _clamp_to_even((face[1] + face[3]) / 2 - h / 2 + _FACE_RAISE_SHARE * h, height - h)
    return Box(x, y, x + w, y + h)


def _clamp_to_even(position: float, limit: int) -> int:
    return int(np.clip(round(position), 0, limit)) // 2 * 2


def _fit_within_limits(width: int, height: int, options: CropOptions) -> tuple[int, int]:
    scale = min(
        Fraction(1),
        Fraction(options.max_width or width, width),
        Fraction(options.max_height or height, height),
    )
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)
