"""Walking a video by frame number: on to the next one, or straight to any key frame."""

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
"""How long before a key frame to aim: containers that search by decoding time land too late otherwise."""


class Cursor:
    """
    A place in a video that moves frame by frame.

    Attributes:
        position: number of the frame that `advance` gives next.
    """

    def __init__(self, decoder: FrameDecoder, index: VideoIndex) -> None:
        """
        Start before the first frame.

        Close it when it is no longer needed: until then it keeps the decoder's threads and buffers.

        Args:
            decoder: freshly opened on the file the index was made of.
            index:   of that file.
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
        """Return the frame at `position` and step on; None where the file has no more."""
        frame, self._waiting = self._waiting, None
        while frame is None:
            number, frame = next(self._walk, (self._index.frames, None))
            if frame is None:
                return None
            if number < self.position:  # cannot happen going on; leftovers of a jump
                frame = None
            else:
                self.position = number
        self.position += 1
        return frame

    def jump(self, key: int, wanted: int) -> bool:
        """
        Move to a key frame, so that `advance` gives it next.

        Args:
            key:    number of a key frame.
            wanted: number of the first frame that matters, in the same group; `advance` may leave out others
                between both.

        Returns:
            False where no seek leads there; the place is undefined then.
        """
        self._decoder.wanted = int(self._index.pts[wanted])
        for lead in list(self._leads):
            if self._jumped(key, int(lead / self._index.time_base)):
                # What worked once works again: try it first next time.
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
        """Convert a frame of this video."""
        if self._normaliser is None:
            size = self._index.width, self._index.height
            self._normaliser = Normaliser(frame, self._decoder.stream.sample_aspect_ratio, size)
        return self._normaliser.picture(frame)


# Functions, not methods: a generator that refers to the cursor which stores it would be a reference cycle,
# and keep a closed decoder's threads and buffers until the next garbage collection.


def _counted(decoder: FrameDecoder) -> Generator[tuple[int, VideoFrame]]:
    """Number the frames from the start of the file by counting them."""
    with closing(decoder.frames()) as frames:
        yield from enumerate(frames)


def _timed(decoder: FrameDecoder, index: VideoIndex) -> Generator[tuple[int, VideoFrame]]:
    """Number the frames after a seek by their timestamps; leave out frames that the index does not have."""
    pts = index.pts
    with closing(decoder.frames()) as frames:
        for frame in frames:
            place = -1 if frame.pts is None else int(np.searchsorted(pts, frame.pts))
            if 0 <= place < len(pts) and pts[place] == frame.pts:
                yield place, frame
