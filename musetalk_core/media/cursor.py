"""Walking a video by frame number: on to the next one, or straight to any key frame."""

from __future__ import annotations

from collections.abc import Iterator
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

        Args:
            decoder: freshly opened on the file the index was made of.
            index:   of that file.
        """
        self.position = 0
        self._decoder, self._index = decoder, index
        self._leads = list(_LEADS_S)
        self._counting = True
        self._walk = self._numbered()
        self._waiting: VideoFrame | None = None
        self._normaliser: Normaliser | None = None

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
        self._decoder.seek(int(self._index.pts[key]) - lead)
        self._counting, self._walk = False, self._numbered()
        for number, frame in self._walk:
            if number >= key:
                self.position, self._waiting = key, frame
                return number == key
        return False

    def _numbered(self) -> Iterator[tuple[int, VideoFrame]]:
        """From the start frames are counted; after a jump their timestamps tell which they are."""
        if self._counting:
            yield from enumerate(self._decoder.frames())
            return
        pts = self._index.pts
        for frame in self._decoder.frames():
            place = -1 if frame.pts is None else int(np.searchsorted(pts, frame.pts))
            if 0 <= place < len(pts) and pts[place] == frame.pts:
                yield place, frame

    def picture(self, frame: VideoFrame) -> Picture:
        """Convert a frame of this video."""
        if self._normaliser is None:
            size = self._index.width, self._index.height
            self._normaliser = Normaliser(frame, self._decoder.stream.sample_aspect_ratio, size)
        return self._normaliser.picture(frame)
