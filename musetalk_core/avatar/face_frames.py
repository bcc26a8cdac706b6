"""Read the faces of chosen source frames as an engine gets them for encoding."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musetalk_core.engine_protocol import FaceFrame
from musetalk_core.media.video.frame_index import VideoIndex
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.types import Box, Float, Ints


@dataclass(frozen=True, slots=True, eq=False)
class TrackedClip:
    """
    A clip with the result of face tracking. All arrays have one entry per source frame (T).

    Attributes:
        path:      the file to read frames from.
        index:     frame index of that file.
        shots:     (T,) int32, shot number; -1 for frames without a face.
        boxes:     (T, 4) int32 xyxy in pixels, the engine's crop box; zeros for frames without a face.
        landmarks: returns the (K, 2) float32 landmarks of a frame in pixels.
    """

    path: Path
    index: VideoIndex
    shots: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.int32]
    landmarks: Callable[[int], Float]


def read_faces(clip: TrackedClip, frames: Ints) -> Generator[FaceFrame]:
    """
    Yield the faces of some source frames that show one. Close the generator if it is not read to the end.

    The clip is opened with the first face; at most one frame is cached, so the frames should ascend.

    Args:
        clip:   the clip.
        frames: (N,) int64 frame numbers.

    Raises:
        MediaUnreadable: the file no longer matches its index.
    """
    with FrameReader(clip.path, clip.index, budget_bytes=1) as reader:
        for frame, picture in zip(frames.tolist(), reader.read(frames.tolist()), strict=True):
            box = Box(*(int(value) for value in clip.boxes[frame]))
            yield FaceFrame(
                frame, int(clip.shots[frame]), box, picture.crop(box), clip.landmarks(frame), picture
            )
