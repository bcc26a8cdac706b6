"""A small picture of the face of an avatar, by which people recognize it in a list."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from musetalk_core.avatar.archive import Avatar
from musetalk_core.errors import NoFaceFound
from musetalk_core.media.image.small_jpeg import encode_small_jpeg
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.types import Box, Image

_MARGIN: Final = 0.5
"""Margin around the crop box on each side, as a share of its longer side."""


def face_picture(avatar: Avatar, source: Path, longest: int = 240) -> bytes:
    """
    Return a square JPEG with the face of the first frame that shows it, smaller at the border of the frame.

    Args:
        avatar:  the avatar.
        source:  file of its source.
        longest: maximum width and height in pixels.

    Raises:
        NoFaceFound: no frame shows the face.
        MediaUnreadable, EncodeError: the frame cannot be read or encoded.
    """
    with_face = np.flatnonzero(avatar.shots >= 0)
    if not len(with_face):
        raise NoFaceFound("No frame of the avatar shows a face.")
    frame = int(with_face[0])
    with FrameReader(avatar.source_path(source), avatar.index, budget_bytes=1, threads=1) as reader:
        [picture] = reader.read([frame])
    area = _square(avatar.box(frame)).clip(picture.width, picture.height).align_even()
    return encode_small_jpeg(_scaled(picture.bgr(area.clip(picture.width, picture.height)), longest))


def _square(box: Box) -> Box:
    width, height = box.size
    half = int(max(width, height) * (0.5 + _MARGIN))
    x, y = (box.x1 + box.x2) // 2, (box.y1 + box.y2) // 2
    return Box(x - half, y - half, x + half, y + half)


def _scaled(bgr: Image, longest: int) -> Image:
    scale = min(1.0, longest / max(bgr.shape[:2]))
    size = max(1, round(bgr.shape[1] * scale)), max(1, round(bgr.shape[0] * scale))
    return np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
