"""Contact sheet of a video: thumbnails from evenly spaced times on one image."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.decoder import open_decoder
from musetalk_core.types import Image

if TYPE_CHECKING:
    from pathlib import Path

    from av.video.frame import VideoFrame

_MIN_SEEK_S: Final = 10.0
"""Shortest distance in seconds that is skipped by seeking; over shorter distances all frames are decoded."""


def contact_sheet(
    path: Path, count: int = 8, columns: int = 4, width: int = 240, time_budget_s: float = 1.0
) -> Image:
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
    deadline = time.monotonic() + time_budget_s
    thumbnails: list[Image] = []
    with open_decoder(path, MediaLimits()) as decoder, ExitStack() as stack:
        time_base = decoder.stream.time_base or Fraction(1)
        length_s, position_s = float((decoder.stream.duration or 0) * time_base), 0.0
        frames = stack.enter_context(closing(decoder.frames()))
        for number in range(count):
            target_s = (number + 0.5) / count * length_s
            if target_s - position_s > _MIN_SEEK_S:
                stack.close()
                decoder.seek(int(target_s / time_base))
                frames = stack.enter_context(closing(decoder.frames()))
            frame: VideoFrame | None = None
            for frame in frames:
                position_s = float(frame.time or 0.0)
                if position_s >= target_s or time.monotonic() > deadline:
                    break
            if frame is not None:
                thumbnails.append(_thumbnail(frame, width))
            if time.monotonic() > deadline:
                break
    if not thumbnails:
        raise MediaUnreadable("The video has no picture.")
    thumbnails += [np.zeros_like(thumbnails[0])] * (-len(thumbnails) % columns)
    return np.vstack(
        [np.hstack(thumbnails[first : first + columns]) for first in range(0, len(thumbnails), columns)]
    )


def _thumbnail(frame: VideoFrame, width: int) -> Image:
    height = max(1, round(frame.height * width / frame.width))
    return np.asarray(frame.to_ndarray(format="bgr24", width=width, height=height), np.uint8)
