"""Contact sheet of talking mouths: a row per face, a column per sound, zoomed."""

import cv2
import numpy as np

from musetalk_core.faces.mesh_topology import LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER, face_height
from musetalk_core.quality.mouth_patch import patch_transform
from musetalk_core.speech.visemes import to_arpabet

TILE = (224, 176)
"""Width and height of a mouth in pixels."""
_WIDTH_H = 0.62
_LABEL_PX = 22
SOUNDS = (
    ("closed", ("P", "B", "M")),
    ("ee", ("IY",)),
    ("eh", ("EH", "AE")),
    ("ah", ("AA", "AY", "AH")),
    ("oo, w", ("UW", "W", "OW")),
    ("l, th", ("L", "TH", "DH", "D")),
    ("s, sh", ("S", "Z", "SH", "CH")),
)
"""Columns: title and phones, the first found phone counts."""


def frame_of(names, phones, curves, rate):
    """Return the frame that shows one of these phones best: closed, open, spread or round, tongue raised."""
    best, at = -1.0, 0
    for phone in phones:
        name = to_arpabet(phone.name)
        if name not in names:
            continue
        first, last = int(phone.start_s * rate), max(int(phone.start_s * rate) + 1, int(phone.end_s * rate))
        for number in range(first, min(last, len(curves))):
            opening, width, closure, tongue = curves[number]
            worth = closure if name in ("P", "B", "M") else opening + 2 * abs(width)
            if names[0] == "L":
                worth = opening + tongue
            worth += 1 - names.index(name) / len(names)
            if worth > best:
                best, at = worth, number
    return at


def mouth(picture, mesh):
    """Return (h, w, 3) uint8, the mouth of a picture, upright."""
    width, height = TILE
    scale = width / (_WIDTH_H * face_height(mesh))
    linear = patch_transform(mesh)[:, :2]
    linear = linear / np.linalg.norm(linear[0]) * scale
    middle = mesh[[LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER]].mean(0)
    offset = np.float32([width / 2, height * 0.4]) - linear @ middle
    place = np.column_stack([linear, offset]).astype(np.float32)
    return cv2.warpAffine(
        picture.crop(_whole(picture)), place, TILE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def _whole(picture):
    from musetalk_core.types import Box

    return Box(0, 0, picture.width, picture.height)


def sheet(rows, titles):
    """
    Join mouths to one picture.

    Args:
        rows:   pairs of a label and its mouths.
        titles: of the columns.
    """
    width, height = TILE
    head = np.full((_LABEL_PX, width * len(titles), 3), 255, np.uint8)
    for number, title in enumerate(titles):
        cv2.putText(
            head, title, (number * width + 6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA
        )
    lines = [head]
    for label, mouths in rows:
        line = np.full((height, width * len(titles), 3), 255, np.uint8)
        for number, tile in enumerate(mouths):
            line[:, number * width : (number + 1) * width] = tile
        cv2.putText(line, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 3, cv2.LINE_AA)
        cv2.putText(line, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        lines.append(line)
    return np.vstack(lines)
