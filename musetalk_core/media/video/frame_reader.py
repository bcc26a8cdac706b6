"""Read the frames of a clip by number with bounded memory, efficient for forward and backward playback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from musetalk_core.errors import InputError, MediaUnreadable
from musetalk_core.media.image.still import read_still
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import sniff
from musetalk_core.media.video.cursor import FrameCursor
from musetalk_core.media.video.decoder import open_decoder
from musetalk_core.media.video.frame_index import VideoIndex

DEFAULT_BUDGET_BYTES = 192 * 1024 * 1024
"""Default limit on the bytes of cached frames."""

_UNLIMITED_PIXELS = 2**31 - 1
_TRUSTED_LIMITS = MediaLimits(video_pixels=_UNLIMITED_PIXELS, still_pixels=_UNLIMITED_PIXELS)


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
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        threads: int = 0,
        limits: MediaLimits = _TRUSTED_LIMITS,
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
        self._cache = dict[int, Picture]()
        self._stack = ExitStack()
        self._cursor: FrameCursor | None = None

    @property
    def retained(self) -> int:
        """Number of frames that are cached now."""
        return len(self._cache)

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
        self._cache.clear()
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
        cached = self._cache.get(number)
        if cached is not None:
            return cached
        if self._index.is_still:
            size = self._index.width, self._index.height
            self._cache[0] = read_still(self._path, sniff(self._path), self._limits, size)
        else:
            self._decode_until(number)
        picture = self._cache.get(number)
        if picture is None:
            raise MediaUnreadable(f"Frame {number} of the video cannot be read any more; prepare it again.")
        return picture

    def _decode_until(self, number: int) -> None:
        """Decode up to a frame and cache it with the frames that are likely to be read next."""
        cursor, index = self._require_cursor(), self._index
        first = number
        key = index.group_start(number) if index.is_seekable else 0
        if number < cursor.position:
            first = max(key, number - self._capacity + 1)
        if number < cursor.position or (key > cursor.position and index.is_seekable):
            cursor = self._seek(cursor, key, first)
        keeps_all = self._capacity >= index.frames
        if not keeps_all:
            self._cache.clear()
        while cursor.position <= number and (frame := cursor.advance()) is not None:
            number_shown = cursor.position - 1
            if number_shown not in self._cache and (keeps_all or number_shown >= first):
                self._cache[number_shown] = cursor.to_picture(frame)

    def _seek(self, cursor: FrameCursor, key: int, first_needed: int) -> FrameCursor:
        if self._index.is_seekable and cursor.seek(key, first_needed):
            return cursor
        self._stack.close()
        return self._open()

    def _require_cursor(self) -> FrameCursor:
        if self._cursor is None:
            raise InputError("a FrameReader must be entered before it is read")
        return self._cursor

    def _open(self) -> FrameCursor:
        decoder = self._stack.enter_context(open_decoder(self._path, self._limits, self._threads))
        self._cursor = self._stack.enter_context(closing(FrameCursor(decoder, self._index)))
        return self._cursor
