"""Reading order of text lines, for pages in any orientation."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from musetalk_core.types import Float
from musetalk_core.vision.findings import TextLine

_SAME_ROW_SHARE: Final = 0.5
"""Lines are in one row if their centers differ by less than this share of the smaller height."""


def sort_by_reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """
    Sort lines in reading order, with the page turned so that most of its text is upright.

    Args:
        lines: lines of one image; the corners of a line define its direction.

    Returns:
        Lines row by row from the top of the text, each row along the direction of the text.
    """
    if len(lines) < 2:
        return list(lines)
    corners = np.array([line.corners for line in lines], np.float32)
    text_direction = _text_direction(corners)
    row_direction = np.array([-text_direction[1], text_direction[0]])
    heights = np.linalg.norm(corners[:, 3] - corners[:, 0], axis=1)
    start, depth = corners[:, 0] @ text_direction, corners.mean(1) @ row_direction
    rows: list[list[int]] = []
    for index in map(int, np.argsort(depth, kind="stable")):
        row = rows[-1] if rows else None
        if row and depth[index] - depth[row[0]] < _SAME_ROW_SHARE * min(heights[index], heights[row[0]]):
            row.append(index)
        else:
            rows.append([index])
    return [lines[index] for row in rows for index in sorted(row, key=lambda it: float(start[it]))]


def _text_direction(corners: Float) -> Float:
    """Return the main direction of text as a (2,) unit vector; lines are weighted by their length."""
    total_direction = (corners[:, 1] - corners[:, 0]).sum(0)
    length = float(np.linalg.norm(total_direction))
    return total_direction / np.float32(length) if length else np.array([1, 0], np.float32)
