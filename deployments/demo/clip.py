"""
The video clip of the demo: the bundled photograph in synthetic motion, made without any renderer.

The camera sways, turns and zooms, the light changes and the sensor is noisy, as in a recording of a person
who smiles and says nothing.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import cos, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

RATE: Final = Fraction(25)
"""Frames per second."""
SECONDS: Final = 5.0
_SIZE: Final = 512
"""Width and height in pixels."""

_MOUTH_X: Final = 223.0
"""Center of the mouth in the bundled photograph, in pixels."""
_VIEW_Y: Final = 188.0
"""Center of the view, low enough that its upper edge stays inside the photograph."""
_NOISE_LEVELS: Final = 2.0
"""Standard deviation of the sensor noise, of 255."""


def write_clip(portrait: Path, path: Path) -> None:
    """
    Write the clip as H.264 in MP4, without sound.

    Args:
        portrait: the bundled photograph, 512 x 512.
        path:     file to write.
    """
    import av
    import cv2
    import numpy as np

    photograph: Image = np.asarray(cv2.imread(str(portrait)), np.uint8)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "16", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = _SIZE, _SIZE, "yuv420p"
        for frame in clip_frames(photograph):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode(None))


def clip_frames(photograph: "Image") -> "Iterator[Image]":
    """
    Yield the frames of the clip; equal in every call.

    Args:
        photograph: (512, 512, 3) uint8 BGR.

    Yields:
        (512, 512, 3) uint8 BGR.
    """
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    y, x = np.mgrid[0:_SIZE, 0:_SIZE].astype(np.float32)
    noise = random.normal(0, _NOISE_LEVELS, (2 * _SIZE, 2 * _SIZE)).astype(np.float32)
    for number in range(round(SECONDS * RATE)):
        t = number / float(RATE)
        turn = 2.5 * pi / 180 * sin(2 * pi * 0.23 * t)
        zoom = 1.5 + 0.06 * sin(2 * pi * 0.17 * t + 1)
        center_x = _MOUTH_X + 8 * sin(2 * pi * 0.29 * t)
        center_y = _VIEW_Y + 6 * sin(2 * pi * 0.41 * t + 2)
        # position in the photograph of each pixel of the frame
        dx, dy = (x - _SIZE / 2) / zoom, (y - _SIZE / 2) / zoom
        source_x = center_x + dx * cos(turn) - dy * sin(turn)
        source_y = center_y + dx * sin(turn) + dy * cos(turn)
        frame = cv2.remap(photograph, source_x, source_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        top, left = random.integers(0, _SIZE, 2)
        grain = cv2.merge([noise[top : top + _SIZE, left : left + _SIZE]] * 3)
        light = 1 + 0.04 * sin(2 * pi * 0.13 * t)
        yield np.asarray(cv2.addWeighted(frame, light, grain, 1, 0, dtype=cv2.CV_8U), np.uint8)
