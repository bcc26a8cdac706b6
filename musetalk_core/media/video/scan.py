"""Scan a source in one pass: yield every frame and, at the end, the frame index of the clip."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable
from musetalk_core.media.frame_rates import MAX_SOURCE_RATE, snap_to_standard, source_rate
from musetalk_core.media.image.normalise import Normaliser
from musetalk_core.media.image.still import read_still
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.probe import probe, require_picture
from musetalk_core.media.source.container import MICROSECOND
from musetalk_core.media.source.info import MediaInfo
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.restarts import restart_offset
from musetalk_core.media.source.sniff import sniff
from musetalk_core.media.source.truncation import promised_frames
from musetalk_core.media.video.cursor import FrameCursor
from musetalk_core.media.video.decoder import FrameDecoder, open_decoder
from musetalk_core.media.video.frame_index import (
    MAX_GROUP_FRAMES,
    Bools,
    VideoIndex,
    has_constant_rate,
    still_index,
)
from musetalk_core.types import Ints

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_MAX_MISSING_SHARE, _MAX_MISSING_FRAMES = 0.02, 2
"""Frames that may be missing of those the container states: edit lists and open starts drop one or two."""
_MAX_TEST_SEEKS = 8
_FINGERPRINT_LINE_STEP = 16
_FULLY_CHECKED_GROUPS = 64
"""Groups of pictures whose fingerprints are all stored; of later groups every 64th, to bound memory."""
_RATE_TOLERANCE = Fraction(1, 200)
MIN_LEAD_S = Fraction(1, 100)
"""Seconds by which a picture may start after the sound without counting as late."""


class Scan:
    """
    A forward pass over the frames of a source. It can be iterated once.

    Attributes:
        info:   result of `probe`.
        time_s: time of the frame yielded last, in seconds from the start of the file.
    """

    def __init__(self, path: Path, info: MediaInfo, limits: MediaLimits, threads: int) -> None:
        """Prepare a pass. Callers use `open_scan`."""
        self.info = info
        self._path, self._limits, self._threads = path, limits, threads
        self._index: VideoIndex | None = None
        self._pts = array("q")
        self._keys = array("q")
        self._fingerprints = dict[int, int]()
        self._is_exact, self._last_duration = True, 0
        self.time_s = Fraction(0)
        self._demuxer, self._clock_offset = sniff(path).demuxer, 0

    @property
    def frames(self) -> int:
        """Number of frames so far."""
        return len(self._pts)

    @property
    def index(self) -> VideoIndex:
        """
        The frame index of the clip.

        Raises:
            InputError: the pass has not reached the end of the clip.
        """
        if self._index is None:
            raise InputError("the index exists only after every picture has been read")
        return self._index

    def __iter__(self) -> Iterator[Picture]:
        """
        Yield every frame in display order.

        Raises:
            MediaUnreadable: no frame can be decoded, or clearly fewer than the container states.
            MediaTooLarge: the clip has more frames or more seconds than allowed.
        """
        if self.info.kind == "still":
            yield from self._still_pictures()
            return
        with open_decoder(self._path, self._limits, self._threads) as decoder:
            yield from self._pictures(decoder)
            self._check_missing_frames(promised_frames(decoder.stream), decoder.damaged_packets)
            index = self._build_index(decoder)
        self._index = index

    def _still_pictures(self) -> Iterator[Picture]:
        picture = read_still(self._path, sniff(self._path), self._limits)
        yield picture
        self._index = still_index(picture.width, picture.height, require_picture(self.info).rate)

    def _pictures(self, decoder: FrameDecoder) -> Iterator[Picture]:
        normaliser: Normaliser | None = None
        for frame in decoder.frames():
            if normaliser is None:
                normaliser = Normaliser(frame, decoder.stream.sample_aspect_ratio)
            picture = normaliser.to_picture(frame)
            self._record_frame(decoder, frame, picture)
            self._check_frame_pixels(picture)
            yield picture
        if normaliser is None:
            raise MediaUnreadable("The video has no frame that can be decoded; export it again.")

    def _record_frame(self, decoder: FrameDecoder, frame: VideoFrame, picture: Picture) -> None:
        number, pts = len(self._pts), self._continuous_pts(decoder, frame.pts)
        if pts is None or (number and pts <= self._pts[-1]) or frame.is_corrupt:
            self._is_exact = False
        if pts is None or (number and pts <= self._pts[-1]):
            pts = self._pts[-1] + 1 if number else 0
        if number == 0 or pts in decoder.key_timestamps:
            decoder.key_timestamps.discard(pts)
            self._keys.append(number)
        if number - self._keys[-1] <= 1 and self._is_checked(len(self._keys) - 1):
            self._fingerprints[number] = fingerprint(picture)
        self._pts.append(pts)
        self.time_s = max(Fraction(0), pts * (decoder.stream.time_base or MICROSECOND) - decoder.start_s)
        self._last_duration = frame.duration

    def _continuous_pts(self, decoder: FrameDecoder, pts: int | None) -> int | None:
        """Return a timestamp on one clock, although the clock of the stream may start again."""
        if pts is None or not self._pts:
            return pts
        base = decoder.stream.time_base or MICROSECOND
        pts += self._clock_offset
        expected = self._pts[-1] + (self._last_duration or 0)
        restart = round(restart_offset(pts * base, expected * base, self._demuxer) / base)
        if restart:
            self._is_exact = False
            self._clock_offset += restart
        return pts + restart

    @staticmethod
    def _is_checked(group: int) -> bool:
        return group < _FULLY_CHECKED_GROUPS or group % _FULLY_CHECKED_GROUPS == 0

    def _check_frame_pixels(self, picture: Picture) -> None:
        frames, pixels = len(self._pts), picture.width * picture.height
        if frames * pixels > self._limits.frame_pixels:
            max_frames = self._limits.frame_pixels // pixels
            raise MediaTooLarge(
                f"The video has more than {max_frames} frames of this size; shorten or shrink it."
            )

    def _check_missing_frames(self, promised: int | None, damaged: int) -> None:
        decoded = len(self._pts)
        promised = promised or decoded + damaged
        if promised - decoded > max(_MAX_MISSING_FRAMES, promised * _MAX_MISSING_SHARE):
            raise MediaUnreadable(
                f"The video is damaged or cut off: it promises {promised} frames but only "
                f"{decoded} can be decoded; upload it again.",
                promised=promised,
                present=decoded,
            )

    def _build_index(self, decoder: FrameDecoder) -> VideoIndex:
        video, base = require_picture(self.info), decoder.stream.time_base or MICROSECOND
        pts = np.array(self._pts, np.int64)
        keys = np.zeros(len(pts), bool)
        keys[np.array(self._keys, np.int64)] = True
        rate = measured_rate(pts, base, video.rate, MAX_SOURCE_RATE)
        last_duration = self._last_duration or max(1, round(1 / (rate * base)))
        duration = int(pts[-1] - pts[0]) + last_duration
        lead = self._lead(int(pts[0]) * base - decoder.start_s, base)
        if (lead + duration) * base > self._limits.seconds:
            raise MediaTooLarge(f"The video lasts more than {self._limits.seconds} seconds; shorten it.")
        index = VideoIndex(pts, keys, base, duration, video.width, video.height, rate, True, False, lead)
        is_undamaged = (
            self._is_exact
            and not decoder.is_interlaced
            and not decoder.damaged_packets
            and largest_group_frames(keys) <= MAX_GROUP_FRAMES
        )
        return (
            index
            if is_undamaged and can_seek(decoder, index, self._fingerprints)
            else replace(index, is_seekable=False)
        )

    def _lead(self, start_s: Fraction, base: Fraction) -> int:
        """Return the ticks from the start of the file to the first frame; less than 10 ms counts as 0."""
        start_s += restart_offset(start_s, Fraction(0), self._demuxer)
        return max(0, round(start_s / base)) if start_s >= MIN_LEAD_S else 0


def measured_rate(pts: Ints, time_base: Fraction, promised: Fraction, highest: int) -> Fraction:
    """
    Choose the frame rate of a clip from all its timestamps.

    Args:
        pts:       (T,) int64, rising, in units of `time_base`.
        time_base: seconds per unit.
        promised:  rate according to the container; used if the timestamps agree with it.
        highest:   maximum frames per second.

    Returns:
        Frames per second; exact if the clip has a constant rate, else a standard rate near the average.
    """
    if len(pts) < 2:
        return promised
    average = (len(pts) - 1) / (int(pts[-1] - pts[0]) * time_base)
    median_rate = 1 / (int(np.median(np.diff(pts))) * time_base)
    choices = [promised] if abs(average - promised) <= promised * _RATE_TOLERANCE else []
    for rate in (*choices, snap_to_standard(average)):
        if rate <= highest and has_constant_rate(pts, time_base, rate):
            return rate
    return min(source_rate(average, median_rate, highest), Fraction(highest))


def largest_group_frames(keys: Bools) -> int:
    """Return the length in frames of the longest group, from a key frame to the next or the end."""
    return int(np.diff(np.append(np.flatnonzero(keys), len(keys))).max())


def fingerprint(picture: Picture) -> int:
    """Return a CRC-32 of every 16th line of a frame; equal frames have equal fingerprints."""
    return zlib.crc32(picture.i420[::_FINGERPRINT_LINE_STEP].tobytes())


def can_seek(decoder: FrameDecoder, index: VideoIndex, fingerprints: Mapping[int, int]) -> bool:
    """
    Test whether seeking to key frames gives the same frames as decoding from the start.

    Args:
        decoder:      open on the file; its position is lost.
        index:        frame index of that file.
        fingerprints: frame number -> fingerprint, of key frames and the frames right after them.
    """
    candidates = [number for number in fingerprints if index.keys[number]]
    with closing(FrameCursor(decoder, index)) as cursor:
        return all(
            _can_seek_to(cursor, key, fingerprints)
            for key in candidates[:: -(-len(candidates) // _MAX_TEST_SEEKS)] + candidates[-1:]
        )


def _can_seek_to(cursor: FrameCursor, key: int, fingerprints: Mapping[int, int]) -> bool:
    if not cursor.seek(key, key):
        return False
    for number in (key, key + 1):
        frame = cursor.advance() if number in fingerprints else None
        if number in fingerprints and (
            frame is None or fingerprint(cursor.to_picture(frame)) != fingerprints[number]
        ):
            return False
    return True


@contextmanager
def open_scan(path: Path, limits: MediaLimits = MediaLimits(), threads: int = 0) -> Generator[Scan]:  # noqa: B008  frozen
    """
    Probe a video or image and prepare one pass over its frames.

        with open_scan(path) as scan:
            for picture in scan:
                ...
            index = scan.index

    Args:
        path:    a local file.
        limits:  checked against the headers and against the decoded frames.
        threads: decoder threads; 0 = one per core.

    Raises:
        MediaUnreadable: the file has no video or is damaged.
        MediaTooLarge: the file exceeds a limit.
    """
    info = probe(path, limits)
    require_picture(info)
    yield Scan(path, info, limits, threads)
