"""Contact sheet of a video: thumbnails from evenly spaced times on one image."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.decoder import opened_decoder
from musetalk_core.media.limits import Limits
from musetalk_core.types import Image

if TYPE_CHECKING:
    from pathlib import Path

    from av.video.frame import VideoFrame

_JUMP_S: Final = 10.0
"""Shortest distance in seconds that is skipped by seeking; over shorter distances all frames are decoded."""


def strip(path: Path, count: int = 8, columns: int = 4, width: int = 240, limit_s: float = 1.0) -> Image:
    """
    Return thumbnails from evenly spaced times of a video, arranged in rows from left to right.

    Args:
        path:          a video that this program encoded; its frames are upright.
        count:         maximum number of thumbnails.
        columns:       thumbnails per row.
        width:         of each thumbnail in pixels.
        time_budget_s: approximate time limit in seconds. When it is reached, the sheet has fewer thumbnails
            or thumbnails of the nearest key frames.

    Returns:
        (rows * h, columns * width, 3) uint8 BGR; unused cells of the last row are black.

    Raises:
        MediaUnreadable: the video has no frame.
    """
    deadline = time.monotonic() + limit_s
    shown: list[Image] = []
    with opened_decoder(path, Limits()) as decoder, ExitStack() as stack:
        unit = decoder.stream.time_base or Fraction(1)
        length_s, now_s = float((decoder.stream.duration or 0) * unit), 0.0
        frames = stack.enter_context(closing(decoder.frames()))
        for number in range(count):
            wanted_s = (number + 0.5) / count * length_s
            if wanted_s - now_s > _JUMP_S:
                stack.close()
                decoder.seek(int(wanted_s / unit))
                frames = stack.enter_context(closing(decoder.frames()))
            frame: VideoFrame | None = None
            for frame in frames:
                now_s = float(frame.time or 0.0)
                if now_s >= wanted_s or time.monotonic() > deadline:
                    break
            if frame is not None:
                shown.append(_small(frame, width))
            if time.monotonic() > deadline:
                break
    if not shown:
        raise MediaUnreadable("The video has no picture.")
    shown += [np.zeros_like(shown[0])] * (-len(shown) % columns)
    return np.vstack([np.hstack(shown[first : first + columns]) for first in range(0, len(shown), columns)])


def _small(frame: VideoFrame, width: int) -> Image:
    height = max(1, round(frame.height * width / frame.width))
    return np.asarray(frame.to_ndarray(format="bgr24", width=width, height=height), np.uint8)
