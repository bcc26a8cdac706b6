"""Drawing of labeled bounding boxes into an image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from musetalk_core.media.image.jpeg import encode_jpeg
from musetalk_core.types import Box, Image

_BOX_COLORS_BGR: Final = {"face": (60, 200, 60), "text": (220, 120, 30), "object": (40, 90, 240)}
_LABEL_COLOR_BGR: Final = (255, 255, 255)


def draw_boxes(bgr: Image, boxes: Sequence[tuple[str, str, Box]], max_side: int) -> Image:
    """
    Draw labeled boxes into a copy of an image, scaled down first so that lines and labels stay readable.

    Args:
        bgr:      (H, W, 3) uint8 BGR.
        boxes:    kind (`face`, `text`, `object`), label and box, in pixels of the image.
        max_side: maximum length of the result's longer side in pixels.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    height, width = bgr.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    out = np.ascontiguousarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    thickness = max(1, round(max(size) / 500))
    for kind, name, box in boxes:
        x1, y1, x2, y2 = (round(n * scale) for n in (box.x1, box.y1, box.x2, box.y2))
        colour = _BOX_COLORS_BGR[kind]
        cv2.rectangle(out, (x1, y1), (max(x1, x2 - 1), max(y1, y2 - 1)), colour, thickness)
        _draw_label(out, name, (x1, y1), colour)
    return out


def _draw_label(out: Image, name: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Draw a label above a box, or inside it at the edge of the image; non-ASCII characters become `?`."""
    size = max(0.35, max(out.shape[:2]) / 2000)
    text = name.encode("ascii", "replace").decode()
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    x = min(corner[0], max(0, out.shape[1] - width - 2))
    y = max(height + 2, corner[1] - baseline)
    cv2.rectangle(out, (x, y - height - 2), (x + width + 2, y + baseline), colour, cv2.FILLED)
    cv2.putText(out, text, (x + 1, y), cv2.FONT_HERSHEY_SIMPLEX, size, _LABEL_COLOR_BGR, 1, cv2.LINE_AA)


def write_jpeg(bgr: Image, path: Path) -> None:
    """
    Write an (H, W, 3) uint8 BGR image as a JPEG file.

    Raises:
        EncodeError: OpenCV cannot encode it.
    """
    path.write_bytes(encode_jpeg(bgr))
