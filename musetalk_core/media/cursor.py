"""Cursor over the frames of a video by frame number: advance to the next frame or seek to a key frame."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from musetalk_core.media.index import VideoIndex
from musetalk_core.media.normalise import Normaliser
from musetalk_core.media.picture import Picture

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from musetalk_core.media.decoder import FrameDecoder

_LEADS_S = (Fraction(0), Fraction(1, 4), Fraction(1), Fraction(4), Fraction(16))
"""Seconds to seek ahead of a key frame, tried in order: seeking by decoding time lands too late with 0."""


class Cursor:
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
        self._leads = list(_LEADS_S)
        self._walk = _counted(decoder)
        self._waiting: VideoFrame | None = None
        self._normaliser: Normaliser | None = None

    def close(self) -> None:
        """Stop decoding and release the packet and frame in progress; `advance` returns None afterwards."""
        self._walk.close()
        self._waiting = self._normaliser = None

    def advance(self) -> VideoFrame | None:
        """Return the frame at `position` and increment `position`; None at the end of the file."""
        frame, self._waiting = self._waiting, None
        while frame is None:
            number, frame = next(self._walk, (self._index.frames, None))
            if frame is None:
                return None
            if number < self.position:  # only after a seek: a frame before the target
                frame = None
            else:
                self.position = number
        self.position += 1
        return frame

    def jump(self, key: int, wanted: int) -> bool:
        """
        Seek to a key frame, so that `advance` returns it next.

        Args:
            key:          number of a key frame.
            first_needed: number of the first frame the caller needs, in the same group. `advance` may skip
                frames between `key` and it.

        Returns:
            False if no seek reaches the key frame; the position is undefined then.
        """
        self._decoder.wanted = int(self._index.pts[wanted])
        for lead in list(self._leads):
            if self._jumped(key, int(lead / self._index.time_base)):
                # The same lead usually works for the whole file, so try it first next time.
                self._leads.remove(lead)
                self._leads.insert(0, lead)
                return True
        return False

    def _jumped(self, key: int, lead: int) -> bool:
        self._walk.close()
        self._decoder.seek(int(self._index.pts[key]) - lead)
        self._walk = _timed(self._decoder, self._index)
        for number, frame in self._walk:
            if number >= key:
                self.position, self._waiting = key, frame
                return number == key
        return False

    def picture(self, frame: VideoFrame) -> Picture:
        """Convert a decoded frame of this video to a `Picture`."""
        if self._normaliser is None:
            size = self._index.width, self._index.height
            self._normaliser = Normaliser(frame, self._decoder.stream.sample_aspect_ratio, size)
        return self._normaliser.picture(frame)


# Functions, not methods: a generator that references the cursor that stores it would form a reference cycle
# and keep a closed decoder's threads and buffers until the next garbage collection.


def _counted(decoder: FrameDecoder) -> Generator[tuple[int, VideoFrame]]:
    """Number the frames by counting them from the start of the file."""
    with closing(decoder.frames()) as frames:
        yield from enumerate(frames)


def _timed(decoder: FrameDecoder, index: VideoIndex) -> Generator[tuple[int, VideoFrame]]:
    """Number the frames after a seek by their timestamps; skip frames that are not in the index."""
    pts = index.pts
    with closing(decoder.frames()) as frames:
        for frame in frames:
            place = -1 if frame.pts is None else int(np.searchsorted(pts, frame.pts))
            if 0 <= place < len(pts) and pts[place] == frame.pts:
                yield place, frame
