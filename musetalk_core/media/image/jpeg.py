"""Encoding of pictures as JPEG."""

import cv2

from musetalk_core.errors import EncodeError
from musetalk_core.types import Image


def encode_jpeg(bgr: Image, quality: int = 85) -> bytes:
    """
    Encode an (H, W, 3) uint8 BGR image as JPEG.

    Args:
        bgr:     the image.
        quality: 0..100.

    Raises:
        EncodeError: OpenCV cannot encode it.
    """
    is_encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise EncodeError("The picture could not be encoded as JPEG.")
    return data.tobytes()
