"""Read the frames of a clip by number with bounded memory, efficient for forward and backward playback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from musetalk_core.errors import InputError, MediaUnreadable
from musetalk_core.media.cursor import Cursor
from musetalk_core.media.decoder import opened_decoder
from musetalk_core.media.index import VideoIndex
from musetalk_core.media.limits import Limits
from musetalk_core.media.picture import Picture
from musetalk_core.media.sniff import sniff
from musetalk_core.media.still import read_still

DEFAULT_BUDGET = 192 * 1024 * 1024
"""Default limit on the bytes of cached frames."""

_ANY = 2**31 - 1
_TRUSTED = Limits(video_pixels=_ANY, still_pixels=_ANY)


class FrameReader:
    """
    A reader of frames by number. Use it as a context manager and from one thread.

    Forwards, it decodes the next frames. Backwards, it decodes a group of pictures from its key frame and
    caches the frames before the requested one that fit the budget; a larger group is decoded several times. A
    clip that fits into the budget as a whole is decoded once.
    """

    def __init__(
        self,
        path: Path,
        index: VideoIndex,
        budget_bytes: int = DEFAULT_BUDGET,
        threads: int = 0,
        limits: Limits = _TRUSTED,
    ) -> None:
        """
        Set the clip to read. The file is opened on entering the `with` block.

        Args:
            path:         the file of the index.
            index:        frame index of that file.
            budget_bytes: limit on the bytes of cached frames; at least one frame is cached.
            threads:      decoder threads; 0 = one per core.
            limits:       bound the memory that a decoder may allocate. The default has no limits, because the
                scan that made the index has already checked them.
        """
        self._path, self._index, self._threads, self._limits = path, index, threads, limits
        self._capacity = max(1, budget_bytes // (index.width * index.height * 3 // 2))
        self._kept = dict[int, Picture]()
        self._stack = ExitStack()
        self._cursor: Cursor | None = None

    @property
    def retained(self) -> int:
        """Number of frames that are cached now."""
        return len(self._kept)

    @property
    def capacity(self) -> int:
        """Maximum number of cached frames."""
        return self._capacity

    def __enter__(self) -> Self:
        if not self._index.is_still:
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.clear()
        self._cursor = None
        self._stack.close()

    def read(self, indices: Iterable[int]) -> Iterator[Picture]:
        """
        Yield frames by number.

        Args:
            indices: frame numbers, consumed one by one; consecutive equal numbers give the same object.

        Raises:
            InputError: a number is outside the clip.
            MediaUnreadable: the file no longer matches its index.
        """
        last, picture = -1, None
        for number in map(int, indices):
            if picture is None or number != last:
                last, picture = number, self._picture(number)
            yield picture

    def _picture(self, number: int) -> Picture:
        if not 0 <= number < self._index.frames:
            raise InputError(f"frame {number} was requested from a clip of {self._index.frames} frames")
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        if self._index.is_still:
            size = self._index.width, self._index.height
            self._kept[0] = read_still(self._path, sniff(self._path), self._limits, size)
        else:
            self._fill(number)
        picture = self._kept.get(number)
        if picture is None:
            raise MediaUnreadable(f"Frame {number} of the video cannot be read any more; prepare it again.")
        return picture

    def _fill(self, number: int) -> None:
        """Decode up to a frame and cache it with the frames that are likely to be read next."""
        cursor, index = self._opened(), self._index
        first = number
        key = index.group_start(number) if index.is_seekable else 0
        if number < cursor.position:
            first = max(key, number - self._capacity + 1)
        if number < cursor.position or (key > cursor.position and index.is_seekable):
            cursor = self._jumped(cursor, key, first)
        keeps_all = self._capacity >= index.frames
        if not keeps_all:
            self._kept.clear()
        while cursor.position <= number and (frame := cursor.advance()) is not None:
            place = cursor.position - 1
            if place not in self._kept and (keeps_all or place >= first):
                self._kept[place] = cursor.picture(frame)

    def _jumped(self, cursor: Cursor, key: int, wanted: int) -> Cursor:
        if self._index.is_seekable and cursor.jump(key, wanted):
            return cursor
        self._stack.close()
        return self._open()

    def _opened(self) -> Cursor:
        if self._cursor is None:
            raise InputError("a FrameReader must be entered before it is read")
        return self._cursor

    def _open(self) -> Cursor:
        decoder = self._stack.enter_context(opened_decoder(self._path, self._limits, self._threads))
        self._cursor = self._stack.enter_context(closing(Cursor(decoder, self._index)))
        return self._cursor
