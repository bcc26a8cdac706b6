"""Cursor over the frames of a video by frame number: advance to the next frame or seek to a key frame."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from musetalk_core.media.image.normalise import Normaliser
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.video.frame_index import VideoIndex

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from musetalk_core.media.video.decoder import FrameDecoder

_SEEK_LEADS_S = (Fraction(0), Fraction(1, 4), Fraction(1), Fraction(4), Fraction(16))
"""Seconds to seek ahead of a key frame, tried in order: seeking by decoding time lands too late with 0."""


class FrameCursor:
    """
    A position in a video that moves frame by frame.

    Attributes:
        position: number of the frame that `advance` returns next.
    """

    def __init__(self, decoder: FrameDecoder, index: VideoIndex) -> None:
        """
        Start before the first frame.

        Close the cursor when it is no longer needed; until then the decoder's threads and buffers stay
        allocated.

        Args:
            decoder: just opened on the file of the index.
            index:   frame index of that file.
        """
        self.position = 0
        self._decoder, self._index = decoder, index
        self._seek_leads_s = list(_SEEK_LEADS_S)
        self._numbered_frames = _number_by_count(decoder)
        self._pending_frame: VideoFrame | None = None
        self._normaliser: Normaliser | None = None

    def close(self) -> None:
        """Stop decoding and release the packet and frame in progress; `advance` returns None afterwards."""
        self._numbered_frames.close()
        self._pending_frame = self._normaliser = None

    def advance(self) -> VideoFrame | None:
        """Return the frame at `position` and increment `position`; None at the end of the file."""
        frame, self._pending_frame = self._pending_frame, None
        while frame is None:
            number, frame = next(self._numbered_frames, (self._index.frames, None))
            if frame is None:
                return None
            if number < self.position:  # only after a seek: a frame before the target
                frame = None
            else:
                self.position = number
        self.position += 1
        return frame

    def seek(self, key: int, first_needed: int) -> bool:
        """
        Seek to a key frame, so that `advance` returns it next.

        Args:
            key:          number of a key frame.
            first_needed: number of the first frame the caller needs, in the same group. `advance` may skip
                frames between `key` and it.

        Returns:
            False if no seek reaches the key frame; the position is undefined then.
        """
        self._decoder.skip_before = int(self._index.pts[first_needed])
        for lead in list(self._seek_leads_s):
            if self._try_seek(key, int(lead / self._index.time_base)):
                # The same lead usually works for the whole file, so try it first next time.
                self._seek_leads_s.remove(lead)
                self._seek_leads_s.insert(0, lead)
                return True
        return False

    def _try_seek(self, key: int, lead_ticks: int) -> bool:
        self._numbered_frames.close()
        self._decoder.seek(int(self._index.pts[key]) - lead_ticks)
        self._numbered_frames = _number_by_timestamp(self._decoder, self._index)
        for number, frame in self._numbered_frames:
            if number >= key:
                self.position, self._pending_frame = key, frame
                return number == key
        return False

    def to_picture(self, frame: VideoFrame) -> Picture:
        """Convert a decoded frame of this video to a `Picture`."""
        if self._normaliser is None:
            size = self._index.width, self._index.height
            self._normaliser = Normaliser(frame, self._decoder.stream.sample_aspect_ratio, size)
        return self._normaliser.to_picture(frame)


# Functions, not methods: a generator that references the cursor that stores it would form a reference cycle
# and keep a closed decoder's threads and buffers until the next garbage collection.


def _number_by_count(decoder: FrameDecoder) -> Generator[tuple[int, VideoFrame]]:
    """Number the frames by counting them from the start of the file."""
    with closing(decoder.frames()) as frames:
        yield from enumerate(frames)


def _number_by_timestamp(decoder: FrameDecoder, index: VideoIndex) -> Generator[tuple[int, VideoFrame]]:
    """Number the frames after a seek by their timestamps; skip frames that are not in the index."""
    pts = index.pts
    with closing(decoder.frames()) as frames:
        for frame in frames:
            number = -1 if frame.pts is None else int(np.searchsorted(pts, frame.pts))
            if 0 <= number < len(pts) and pts[number] == frame.pts:
                yield number, frame
