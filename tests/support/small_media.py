"""Small media for browser tests: a video whose picture changes with time."""

from pathlib import Path

import av
import numpy as np

RATE = 25


def write_video(path: Path, seconds: float = 2.0, size: int = 160, tint: int = 0) -> Path:
    """A video with a bar that moves across the picture once, H.264 in MP4."""
    frames = round(seconds * RATE)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for number in range(frames):
            picture = np.full((size, size, 3), tint, np.uint8)
            left = number * (size - 20) // frames
            picture[:, left : left + 20] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path
