"""Small JPEG pictures of video frames."""

from typing import Final

import cv2
import numpy as np

from musetalk_core.media.image.jpeg import encode_jpeg
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Image

_QUALITY: Final = 70


def small_jpeg(picture: Picture, longest: int) -> bytes:
    """
    Return a video frame as a small JPEG; a frame that is small already keeps its size.

    The planes are scaled before the conversion of colours, which takes a tenth of the time for 720p.

    Args:
        picture: the frame; it is not changed.
        longest: maximum width and height in pixels.

    Raises:
        EncodeError: OpenCV cannot encode it.
    """
    scale = min(1.0, longest / max(picture.width, picture.height))
    # even sizes, as a Picture has
    width, height = (max(2, 2 * round(side * scale / 2)) for side in (picture.width, picture.height))
    small = np.empty((height * 3 // 2, width), np.uint8)
    scaled = Picture(small)
    for source, target in ((picture.y, scaled.y), (picture.u, scaled.u), (picture.v, scaled.v)):
        target[:] = _resized(source, target.shape[1], target.shape[0])
    return encode_small_jpeg(scaled.bgr())


def encode_small_jpeg(bgr: Image) -> bytes:
    """
    Encode an (H, W, 3) uint8 BGR image as JPEG, quality 70.

    Raises:
        EncodeError: OpenCV cannot encode it.
    """
    return encode_jpeg(bgr, _QUALITY)


def _resized(plane: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
